# The commands of the built-in image are one program under many names.
rm -rf bin left right got
mkdir bin
tiffin __userland >bin/ip
chmod 755 bin/ip
ln -s ip bin/nc
tiffin unshare -Urn sh -c 'bin/ip link add a type veth peer b' 2>/dev/null ||
    unsupported "this kernel has no pairs of virtual interfaces (CONFIG_VETH), or programs in $WORK cannot be executed"
