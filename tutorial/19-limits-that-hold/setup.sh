# A plan of groups, one in the other. That containers can have groups with limits here is tried.
rm -f plan effective
if ! said=$(tiffin run --rm -m 64m --pids-limit 100 --cpus 1 tiffin/base true 2>&1); then
	unsupported "no control group with limits can be made here: $(printf '%s\n' "$said" | sed -n 's/^tiffin: //p' | head -n 1)"
fi
cat >plan <<END
group                 memory.max   pids.max
kitchen               ${M1}M         $N1
kitchen/stove         ${M2}M         max
kitchen/stove/pot     ${M3}M         $N3
END
printf '%s ?\n' memory pids >effective
