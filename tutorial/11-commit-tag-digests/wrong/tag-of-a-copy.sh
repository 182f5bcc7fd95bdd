# says: a tag is a name for a digest, nothing has to be made for it
. "$LAB/solution.sh"
tiffin import layer.tar "$P.example/hand:$DAY"
