# What is deleted, replaced and kept in the pantry, and the box that is emptied.
JARS=$(pick jars 'salt flour honey' 'flour honey salt' 'honey salt flour')
GONE=$(echo "$JARS" | cut -d' ' -f1)
CHANGED=$(echo "$JARS" | cut -d' ' -f2)
KEPT=$(echo "$JARS" | cut -d' ' -f3)
BOX=$(pick box crate basket chest)
FRESH=$(pick fresh apple pear plum)
ADDED=$(pick added beans peas lentils)
# pantry DIR: makes the lower layer's directory there.
pantry() {
	mkdir -p "$1/pantry/$BOX" "$1/pantry/shelf"
	for f in "$GONE" "$CHANGED" "$KEPT" "$BOX/old-1" "$BOX/old-2" shelf/rice; do echo 500 >"$1/pantry/$f"; done
}
WEIGHT=$(number weight 101 899)
