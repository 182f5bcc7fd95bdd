# says: That is what the group itself has
printf 'memory %s\npids %s\n' "$M3" "$N3" >effective
