# says: without limits none is made for it
tiffin run -d --name "$OVEN" tiffin/base sleep 5000
