IMAGE=$P.example/till:1
BOX=$P-box
TILL=$P-till
WHICH=$(pick which read port root link mount)
case $WHICH in
read) CAP=DAC_OVERRIDE BIT=1 COMMAND="cat /till/closed" ;;
port) CAP=NET_BIND_SERVICE BIT=10 COMMAND="timeout 1 nc -l -p $(number port 80 1000)" ;;
root) CAP=SYS_CHROOT BIT=18 COMMAND="chroot / true" ;;
link) CAP=NET_ADMIN BIT=12 COMMAND="ip link set lo down" ;;
mount) CAP=SYS_ADMIN BIT=21 COMMAND="mount -t tmpfs till /mnt" ;;
esac
NAPS=$(number naps 10001 99999)
