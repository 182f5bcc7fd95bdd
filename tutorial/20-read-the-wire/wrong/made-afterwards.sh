# says: It was not there when it was looked for, but then it was made
. "$LAB/solution.sh"
sed -i "s/^missing .*/missing $FRESH/" decoded
