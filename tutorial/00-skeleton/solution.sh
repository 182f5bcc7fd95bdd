# The reference solution: `tiffin lab test` wants it to pass.
echo "sha256:$(sha256sum <box-2 | cut -d ' ' -f 1)" >answer
