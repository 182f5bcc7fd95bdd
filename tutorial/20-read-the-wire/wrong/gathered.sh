# says: Nobody gathers them
. "$LAB/solution.sh"
sed -i "s/^writes .*/writes 1/" predict
