# says: The trap is run when the foreground command has ended
. "$LAB/solution.sh"
sed "s/^b .*/b $N/" predict >p && mv p predict
