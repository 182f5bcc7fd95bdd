KIND=$(pick kind link xattr sync)
case $KIND in
link) WHAT="make a second name for a file, a hard or a symbolic link" PAGE="link(2)" ;;
xattr) WHAT="set an extended attribute of a file" PAGE="setxattr(2)" ;;
sync) WHAT="call for the data of a file, or of all, to be written to the disk" PAGE="sync(2)" ;;
esac
ERRNO=$(pick errno EIO ENOSPC EROFS EDQUOT)
case $ERRNO in EIO) NUMBER=5 ;; ENOSPC) NUMBER=28 ;; EROFS) NUMBER=30 ;; *) NUMBER=122 ;; esac
