# says: The file was changed after it had got its name
. "$LAB/solution.sh"
echo >>"layout/blobs/sha256/$(digest config.json)"
