NAME=$(pick name apple banana cherry fig grape lemon mango)
NAPS=$(number seconds 5001 9999)
SIGNAL=$(pick signal 1 2 10)
STATUS=$((128 + SIGNAL))
