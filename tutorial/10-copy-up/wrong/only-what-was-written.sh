# says: The file system copies the whole file before it can change a part of it
. "$LAB/solution.sh"
echo $((${#WORD} + 1)) >copied
