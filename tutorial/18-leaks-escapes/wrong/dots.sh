# says: there is nothing above it
echo 'cat ../../../../secret ../secret' >leak
