# says: The paths of a layer begin at the root of the image
sed 's/-C rootfs menu/rootfs/' "$LAB/solution.sh" >s.sh
. ./s.sh
