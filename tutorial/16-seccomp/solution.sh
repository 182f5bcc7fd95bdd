case $KIND in
link) names='"link", "linkat", "symlink", "symlinkat"' ;;
xattr) names='"setxattr", "lsetxattr", "fsetxattr"' ;;
sync) names='"sync", "syncfs", "fsync", "fdatasync"' ;;
esac
cat >profile.json <<END
{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [
    {"names": [$names], "action": "SCMP_ACT_ERRNO", "errnoRet": $NUMBER}
  ]
}
END
