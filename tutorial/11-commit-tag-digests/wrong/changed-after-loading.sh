# says: if you change a layout, its digest changes
. "$LAB/solution.sh"
echo "and salad" >rootfs/menu/salad
sed '/^tiffin/d' "$LAB/solution.sh" >s.sh
. ./s.sh
