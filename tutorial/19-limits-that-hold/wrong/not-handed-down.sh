# says: The controller is not handed down
tiffin run -d --limits cgroup --name "$OVEN" tiffin/base sleep 5000
