# says: as long as the way up meets it
cat >escape <<'END'
cd ../../../../../../../../../../..
cat ".$1"
END
