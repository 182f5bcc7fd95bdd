# says: Overlayfs copies a file of a layer before it renames it
. "$LAB/solution.sh"
echo $((SIZE_A + SIZE_B)) >overlay
