PLAIN=$P-plain
INIT=$P-init
DEMO=$P-demo
N=$(number zombies 3 6)
