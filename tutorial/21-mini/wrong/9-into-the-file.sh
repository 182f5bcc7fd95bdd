# says: A file of the upper layer is a new one
sed 's/rm -rf "${2:?}\/$f"/if [ -f "$2\/$f" ] \&\& [ ! -L "$2\/$f" ] \&\& [ ! -L "$1\/$f" ]; then cat "$1\/$f" >"$2\/$f"; chmod --reference="$1\/$f" "$2\/$f"; continue; fi; &/' \
    "$LAB/reference/mini.sh" >mini
chmod 755 mini
