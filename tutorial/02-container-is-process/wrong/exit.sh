# says: Another command has ended with that status
tiffin rm -f "$P-old" >/dev/null
tiffin run --name "$P-old" tiffin/base sh -c "exit $STATUS" >/dev/null || true
