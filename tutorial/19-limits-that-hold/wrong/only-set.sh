# says: No fork or clone was refused yet
tiffin run -d -m "${MIB}m" --pids-limit "$PROCS" --name "$OVEN" tiffin/base sleep 5000
