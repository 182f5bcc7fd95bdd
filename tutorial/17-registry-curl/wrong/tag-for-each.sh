# says: one platform has taken the name for all
sed "s|manifests/\$(digest \$m)|manifests/$DAY|; \$d" "$LAB/solution.sh" >s.sh
. ./s.sh
