# says: One of these bytes went into another file
. "$LAB/solution.sh"
sed -i "s/^written .*/written $((sum + 1))/" decoded
