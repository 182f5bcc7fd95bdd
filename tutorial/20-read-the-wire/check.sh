# The answers follow from what setup.sh has had done, and from the values in the commands.
# said FILE KEY: the second word of the line of that key.
said() { if [ -f "$1" ]; then sed -n "s/^ *$2  *\([^ ]*\) *$/\1/p" "$1" | head -n 1; fi; }
# verdict NAME POINTS FORM WANT GOT WHY
verdict() {
	case $5 in
	"$4") pass "$1" "$2" "$5" ;;
	'' | '?') fail "$1" "$2" "$3" "$5" 'Each line is a key and an answer; a wrong prediction costs nothing.' ;;
	*) fail "$1" "$2" "$3" "$5" "$6" ;;
	esac
}

# 1: the recording.
got=$(said decoded missing)
case $got in
"$FRESH") why='It was not there when it was looked for, but then it was made: a MKNOD follows. The other name was never there.' ;;
"$GONE") why='That one was there, a layer had it, until it was removed.' ;;
*) why='A LOOKUP that nobody answers has no "by": every layer says miss.' ;;
esac
verdict 'missing: the name that was looked for and is nowhere' 1 'a name' "$LOST" "$got" "$why"

got=$(said decoded removed)
verdict 'removed: the name that was deleted' 1 'a name' "$GONE" "$got" \
	'rm(1) is unlink(2), and the operation is UNLINK. Layers keep the file; the upper directory hides it from then on.'

got=$(said decoded copied)
case $got in
"$FRESH") why='A new file has nothing that could be copied. Which WRITE says more than its bytes?' ;;
"$GONE") why='To remove a file of a layer takes a whiteout, which is empty: its bytes stay where they are.' ;;
"$READ") why='It was only read. Reading is answered by the layer itself.' ;;
*) why='Before the first byte of a file of a layer is overwritten, the file is copied up: that WRITE has "copied".' ;;
esac
verdict 'copied: the file that was copied up' 2 'a name' "$TORN" "$got" "$why"

got=$(said decoded written)
case $got in
"$PIECES") why='That is the number of requests. Each says its bytes.' ;;
"$PIECE") why='That is one request of several: each WRITE carries what one write(2) was given.' ;;
$((PIECE * PIECES + 1))) why='One of these bytes went into another file: look at the path.' ;;
*) why='Add the bytes of all WRITE requests to the new file.' ;;
esac
verdict 'written: bytes that were written to the new file' 1 'a number of bytes' $((PIECE * PIECES)) "$got" "$why"

# 2: predictions.
got=$(said predict writes)
case $got in
1) why='Nobody gathers them: this file system is asked at each write(2), so that nothing is lost that a program was told is written.' ;;
"$SIZE" | $((SIZE * COUNT))) why='That is bytes. What counts is how often the program writes.' ;;
*) why='dd calls write(2) once for each block, and each call is a request (two, if it crosses the end of a page of 4096 bytes: here none does). Try it: run --trace --trace-op write.' ;;
esac
verdict 'writes: WRITE requests of dd' 1 'a number of requests' "$COUNT" "$got" "$why"

got=$(said predict again)
case $got in
*[!0-9]*) why='It is a number of requests.' ;;
*) why='The second cat is answered by the kernel: names, attributes and pages that it has got once, it remembers. With `run --trace` it asks for names and attributes again on purpose; under `tiffin trace` it does not.' ;;
esac
verdict 'again: requests of the second cat' 1 'a number of requests' 0 "$got" "$why"

got=$(said predict overlay)
case $got in
"$COUNT" | 1) why='With --driver overlay what is written goes into a directory of the disk, by the kernel: tiffin has only the layers, and is never asked to write.' ;;
*) why='Which of the two directories is a new file in, and who serves that?' ;;
esac
verdict 'overlay: WRITE requests of the same dd with --driver overlay' 1 'a number of requests' 0 "$got" "$why"

# 3: the drivers beside each other.
got=$(said compare fuse)
verdict 'fuse: old bytes in the upper directory after mv' 1 'a number of bytes' 0 "$got" \
	'For the driver fuse a renamed directory is a name that remembers its origin: nothing in it is copied, and there is one RENAME.'
got=$(said compare overlay)
case $got in
0) why='There is no RENAME of a directory of a layer in overlayfs, but for a privileged option: rename(2) says EXDEV, and mv copies all, as between two disks.' ;;
"$ONE" | "$TWO") why='That is one of the two files in box.' ;;
*) why='Everything in box was copied, and nothing else: the bytes of its two files (ls -l, wc -c).' ;;
esac
verdict 'overlay: old bytes in the upper directory after mv' 1 'a number of bytes' $((ONE + TWO)) "$got" "$why"
