# says: To change it, change what is remembered
. "$LAB/solution.sh"
tiffin run --name "$P-mode" --userns single "$P.example/desk" sh -c "cd /desk; chmod 640 $LETTER; chmod 600 $LEDGER"
tiffin rmi "$P.example/fixed"
tiffin commit "$P-mode" "$P.example/fixed"
