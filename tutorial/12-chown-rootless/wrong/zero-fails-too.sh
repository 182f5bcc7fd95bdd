# says: This id is in the map, and there you have CAP_CHOWN
. "$LAB/solution.sh"
sed 's/^single-0 .*/single-0 EPERM/' predict >p && mv p predict
