# says: it was there when the runner looked
. "$LAB/solution.sh"
echo "rm /srv/$B; ln -s \"\$1\" /srv/$B" >swap
