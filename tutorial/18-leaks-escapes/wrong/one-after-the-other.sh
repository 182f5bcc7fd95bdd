# says: Between the look at a path and the use of it there is always time
. "$LAB/solution.sh"
sed -i '/exec 4</d; s|\$(readlink .*) in|$(realpath "$box/$path") in|; s|cat <&4|cat "$box/$path"|' runner
