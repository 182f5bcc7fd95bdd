# says: That is a diff ID, from the config
tiffin save -q -o lunch.tar "$P/lunch:$TAG"
mkdir lunch && tar xf lunch.tar -C lunch
config=$(tiffin inspect --format '{{.Id}}' "$P/lunch:$TAG")
echo $config >config
grep -o 'sha256:[0-9a-f]*' lunch/blobs/sha256/${config#sha256:} | sed -n 2p >layer
