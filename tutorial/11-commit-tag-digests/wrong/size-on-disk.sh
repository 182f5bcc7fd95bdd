# says: The manifest needs digest and length in bytes
sed 's/^size() .*/size() { du -k "$1" | cut -f1; }/; /^tiffin/d' "$LAB/solution.sh" >s.sh
. ./s.sh
