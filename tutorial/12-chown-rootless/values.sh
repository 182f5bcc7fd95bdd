# Who the papers on the desk belong to, and shall belong to.
LETTER=$(pick letter invoice recipe poem)
LEDGER=$(pick ledger ledger diary atlas)
OWNER=$(number owner 1100 29999)
NEW=$(number new 30000 59999)
GROUP=$(number group 30000 59999)
