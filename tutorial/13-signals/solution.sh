cat >predict <<END
a 137
b 137
c $N
d $((128 + SIGNO))
e 137
END
cat >entry <<END
"\$@" &
child=\$!
trap 'kill -TERM \$child; wait \$child; exit \$?' $SIG
wait \$child
END
