# says: tiffin has only the layers, and is never asked to write
. "$LAB/solution.sh"
sed -i "s/^overlay .*/overlay $COUNT/" predict
