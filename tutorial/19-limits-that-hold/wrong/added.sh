# says: Limits are not added
echo "memory $((M1 + M2 + M3))" >effective
