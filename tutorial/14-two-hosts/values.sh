NET=10.$(number net 10 250).$(number sub 1 250)
LEFT=$NET.$(number left 17 22)
RIGHT=$NET.$(number right 23 30)
FAR=172.$(number far 16 31).$(number shop 1 250).7
NAPS=$(number naps 10001 99999)
