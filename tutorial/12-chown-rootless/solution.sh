# One container outside, one file: what does chown say? (The map tells it too.)
say() { case $1 in '') echo ok ;; *'nvalid arg'*) echo EINVAL ;; *) echo EPERM ;; esac; }
: >mine
outside=$(say "$(LC_ALL=C chown "$NEW" mine 2>&1)") || :
single=EINVAL
default=EINVAL
if tiffin run --rm tiffin/base cat /proc/self/uid_map | {
	while read -r first _ count; do
		if [ "$NEW" -ge "$first" ] && [ "$NEW" -lt $((first + count)) ]; then exit 0; fi
	done
	exit 1
}; then default=ok; fi
cat >predict <<END
outside $outside
single-0 ok
single-$NEW $single
default-$NEW $default
END

tiffin run --name "$P-fix" --userns single "$P.example/desk" sh -c "chmod 640 /desk/$LETTER; chmod 600 /desk/$LEDGER"
up=$(tiffin inspect -f '{{.GraphDriver.Data.UpperDir}}' "$P-fix")
tiffin run --rm -v "$up:/up" tiffin/base \
	setfattr -n user.containers.override_stat -v "$NEW:$GROUP:0640:file" "/up/desk/$LETTER"
tiffin commit "$P-fix" "$P.example/fixed"
tiffin rm "$P-fix"
