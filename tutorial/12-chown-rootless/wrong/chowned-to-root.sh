# says: Root is who you are inside
. "$LAB/solution.sh"
tiffin run --name "$P-root" --userns single "$P.example/desk" \
	sh -c "cd /desk; chown 0:0 $LETTER; chmod 640 $LETTER; chmod 600 $LEDGER"
tiffin rmi "$P.example/fixed"
tiffin commit "$P-root" "$P.example/fixed"
