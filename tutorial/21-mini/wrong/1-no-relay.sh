# says: The signal has ended mini, and the command knows nothing
sed '/trap .*children/d' "$LAB/reference/mini.sh" >mini
chmod 755 mini
