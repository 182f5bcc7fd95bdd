# says: a directory on the way to it can become a link
# cat of a last name that is a link is refused: dd opens with O_NOFOLLOW.
. "$LAB/solution.sh"
sed -i '/exec 4</d; s|\$(readlink .*) in|$(realpath "$box/$path") in|
	s|cat <&4 >|dd status=none iflag=nofollow if="$box/$path" of=|' runner
