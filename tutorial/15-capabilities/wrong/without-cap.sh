# says: The whole name begins with CAP_
. "$LAB/solution.sh"
echo "$CAP" >missing
