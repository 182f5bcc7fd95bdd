# says: Root in a user namespace is root over the ids in its map only
. "$LAB/solution.sh"
sed 's/^single.*/& ok/; s/^\(single-[0-9]*\) .*/\1 ok/' predict >p && mv p predict
