cp "$LAB/reference/mini.sh" mini
chmod 755 mini
