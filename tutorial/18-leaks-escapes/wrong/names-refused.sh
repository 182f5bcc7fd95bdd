# says: A name is not a place: a link in the box has any name
. "$LAB/solution.sh"
sed -i 's|echo .*here/log"|case $dir in /proc*) fail "not in there" ;; esac; exec 9<"$here"|
	s|^\t\texec "$@"|\t\techo "$dir: $*" >>/proc/self/fd/9/log\n\t\texec "$@" 9<\&-|' runner
