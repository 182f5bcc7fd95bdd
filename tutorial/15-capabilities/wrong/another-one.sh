# says: With it alone the command fails as before
. "$LAB/solution.sh"
echo CAP_MKNOD >missing
