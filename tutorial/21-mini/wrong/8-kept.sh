# says: execve(2) keeps every descriptor that is not marked
sed 's/exec 3<&- 4<&-.*/:/' "$LAB/reference/mini.sh" >mini
chmod 755 mini
