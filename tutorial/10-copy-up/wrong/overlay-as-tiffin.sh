# says: That is what tiffin copies.
. "$LAB/solution.sh"
echo "$SIZE_B" >overlay
