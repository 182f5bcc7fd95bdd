# lab12.example/desk: tiffin/base, and a layer with papers of $OWNER. A tarball can say any owner.
rm -rf desk
mkdir desk
echo 'to whom it may concern' >"desk/$LETTER"
echo 'one, two, three' >"desk/$LEDGER"
echo 'blank' >desk/note
chmod 755 desk
chmod 644 desk/*
tar --owner="$OWNER" --group="$OWNER" --numeric-owner -cf desk.tar desk
rm -r desk
stack "$P.example/desk:latest" tiffin/base desk.tar
rm desk.tar
cat >predict <<END
outside        ?
single-0       ?
single-$NEW   ?
default-$NEW  ?
END
