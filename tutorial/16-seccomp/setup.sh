cat >demo.json <<'END'
{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [
    {"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
  ]
}
END
rm -f profile.json kill.json
