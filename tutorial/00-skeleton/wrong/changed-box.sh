# says: You changed the content
echo more >>box-2
echo "sha256:$(sha256sum <box-2 | cut -d ' ' -f 1)" >answer
