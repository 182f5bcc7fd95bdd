# says: mini has opened something and not closed it
sed 's/exec 3<&- 4<&-.*/& 5<\//' "$LAB/reference/mini.sh" >mini
chmod 755 mini
