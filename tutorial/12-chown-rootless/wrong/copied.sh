# says: a copy is a new file and belongs to who made it
. "$LAB/solution.sh"
tiffin run --name "$P-copy" --userns single "$P.example/fixed" \
	sh -c "cd /desk; cp $LEDGER new; mv new $LEDGER; chmod 600 $LEDGER"
tiffin commit "$P-copy" "$P.example/copy"
tiffin rm "$P-copy"
tiffin rmi "$P.example/fixed"
tiffin tag "$P.example/copy" "$P.example/fixed"
