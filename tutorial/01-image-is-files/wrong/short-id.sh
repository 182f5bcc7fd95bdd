# says: A digest is whole: sha256: and all 64 digits.
tiffin images -q "$P.example/lunch" >config
