# says: A tarball cannot have a mode or an end without the rest
. "$LAB/solution.sh"
echo "$SIZE_B" >committed
