# says: the whole file before it can change what is in the middle of it
. "$LAB/solution.sh"
echo "$LETTERS" >copied
