# says: only known to be missing when every layer has been asked
. "$LAB/solution.sh"
sed "s/^$D .*/$D ------/" predict >p && mv p predict
