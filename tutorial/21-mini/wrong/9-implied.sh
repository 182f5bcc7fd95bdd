# says: A directory that a layer only has entries in
sed 's/if printf .*grep -qxF.*; then \(chmod .*\); fi/\1/' "$LAB/reference/mini.sh" >mini
chmod 755 mini
