# says: The interfaces and ports of the machine
sed 's/ --net / /; /link set lo up/d' "$LAB/reference/mini.sh" >mini
chmod 755 mini
