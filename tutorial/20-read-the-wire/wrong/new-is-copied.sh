# says: A new file has nothing that could be copied
. "$LAB/solution.sh"
sed -i "s/^copied .*/copied $FRESH/" decoded
