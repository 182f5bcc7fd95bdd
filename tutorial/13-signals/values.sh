DEMO=$P-demo
SIGNO=$(pick signal 1 10 12)
SIG=$(kill -l "$SIGNO")
N=$(number status 20 99)
