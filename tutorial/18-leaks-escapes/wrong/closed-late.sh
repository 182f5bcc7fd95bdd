# says: it was entered while the descriptor was open
. "$LAB/solution.sh"
sed -i 's|echo .*here/log"|exec 9<"$here"|; s|^\t\texec "$@"|\t\techo "$dir: $*" >>/proc/self/fd/9/log\n\t\texec "$@" 9<\&-|' runner
