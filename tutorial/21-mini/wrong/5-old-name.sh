# says: A new uts namespace begins with a copy of the old name
sed '/hostname/d' "$LAB/reference/mini.sh" >mini
chmod 755 mini
