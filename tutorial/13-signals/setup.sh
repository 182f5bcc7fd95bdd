printf '%s ?\n' a b c d e >predict
rm -f entry
