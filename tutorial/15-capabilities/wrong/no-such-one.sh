# says: There is no such capability
. "$LAB/solution.sh"
echo CAP_READ_ALL >missing
