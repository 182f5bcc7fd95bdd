INUID=$(number uid 100 499)
INGID=$(number gid 500 999)
NAPS=$(number naps 50001 99999)
