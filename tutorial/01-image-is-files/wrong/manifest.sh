# says: That is the manifest: the list of the parts.
tiffin save -q -o lunch.tar "$P.example/lunch:$TAG"
tar xOf lunch.tar index.json | grep -o 'sha256:[0-9a-f]*' >config
