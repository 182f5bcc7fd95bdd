# lib.sh: the functions of every script of a lab. It is read first, then the
# lab's values.sh, then the script itself, by `sh -eu` in the directory $WORK.
#
#   LAB   the lab's own files, only to be read     WORK  the student's directory
#   SEED  the student's seed, any text             P     the prefix of the lab's
#                                                        containers and images
# The words are those of a POSIX shell and coreutils, for any Linux there is.

# _hash TEXT: 28 bits of its SHA-256. Not of cksum(1): a CRC is linear, so the
# values of two keys would always go together, for every seed.
_hash() {
	_h=$(printf '%s' "$1" | sha256sum)
	echo $((0x${_h%"${_h#???????}"}))
}

# pick KEY WORD…: one of the words, by seed and key.
pick() {
	_k=$1
	shift
	_h=$(_hash "$SEED/$_k")
	shift $((_h % $#))
	printf '%s\n' "$1"
}

# number KEY MIN MAX: a number from MIN to MAX, by seed and key.
number() {
	_h=$(_hash "$SEED/$1")
	echo $(($2 + _h % ($3 - $2 + 1)))
}

# record STATE NAME POINTS EXPECTED FOUND WHY EVIDENCE: one record on descriptor
# 3, after the token that only this shell has: fields separated by US (0x1f),
# records ended by RS (0x1e), ASCII's characters for just that. What a student
# wrote may have any bytes in it, so these two are taken out of the fields.
_us=$(printf '\037') _rs=$(printf '\036')
record() {
	_r=$_token
	for _f; do
		case $_f in *["$_us$_rs"]*) _f=$(printf '%s' "$_f" | tr -d '\036\037') ;; esac
		_r=$_r$_us$_f
	done
	printf '%s\036' "$_r" >&3
}

# guard is called before setup.sh and check.sh: the tiffin of these scripts
# fetches nothing from a registry, and what it runs cannot write a report.
guard() {
	tiffin() {
		case $1 in
		run | create)
			_verb=$1
			shift
			command tiffin "$_verb" --pull never "$@" 3>&-
			;;
		*) command tiffin "$@" 3>&- ;;
		esac
	}
}

# made KIND NAME FIELD: what the engine has seen of the container or image NAME
# right after setup.sh, nothing if setup.sh made none of that name:
#   made container NAME id, started      made image NAME:TAG id, layers
made() {
	case $3 in id) _n=3 ;; *) _n=4 ;; esac
	grep "^$1 $2 " "$LAB/../made" | cut -d ' ' -f "$_n"
}

# as_made IMAGE:TAG: whether the image is the one that setup.sh has made.
as_made() {
	[ "$(tiffin inspect --type image -f '{{.Id}}' "$1" 2>/dev/null)" = "$(made image "$1" id)" ]
}

# of_image CONTAINER IMAGE:TAG: whether the container was made of the very image
# that was there right after setup.sh (tiffin/base:latest, too).
of_image() {
	[ "$(tiffin inspect --type container -f '{{.Image}}' "$1" 2>/dev/null)" = "$(made image "$2" id)" ]
}

# pass NAME POINTS [EVIDENCE]
pass() { record passed "$1" "$2" '' '' '' "${3-}"; }

# fail NAME POINTS EXPECTED FOUND WHY [EVIDENCE]
fail() { record failed "$1" "$2" "$3" "$4" "$5" "${6-}"; }

# same NAME POINTS EXPECTED FOUND WHY: pass if equal, else fail.
same() {
	if [ "$3" = "$4" ]; then pass "$1" "$2" "$4"; else fail "$1" "$2" "$3" "$4" "$5"; fi
}

# unsupported WHY: the machine lacks something. It ends the script.
unsupported() {
	record unsupported '' 0 '' '' "$1" ''
	exit 0
}

# answer FILE: the first line of a file in $WORK without the spaces around it;
# nothing if there is no such file.
answer() {
	if [ -f "$WORK/$1" ] && [ -r "$WORK/$1" ]; then
		head -c 4096 "$WORK/$1" | tr -d '\000\r' | sed -n '1{s/^[[:space:]]*//;s/[[:space:]]*$//;p;}'
	fi
}

# stack IMAGE TARBALL…: makes IMAGE of these layers, the bottom one first.
# `tiffin/base` stands for the layer of that image.
stack() {
	_d=$(mktemp -d)
	_image=$1 _n=0 _ids='' _layers=''
	shift
	for _tar; do
		if [ "$_tar" = tiffin/base ]; then
			_tar=$(tiffin inspect --type image -f '{{(index .Layers 0).Flat}}' tiffin/base)
		fi
		cp "$_tar" "$_d/$_n.tar"
		_h=$(sha256sum <"$_tar")
		_ids="$_ids, \"sha256:${_h%% *}\"" _layers="$_layers, \"$_n.tar\"" _n=$((_n + 1))
	done
	case $(uname -m) in x86_64) _arch=amd64 ;; aarch64) _arch=arm64 ;; *) _arch=$(uname -m) ;; esac
	printf '{"architecture": "%s", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [%s]}}\n' \
		"$_arch" "${_ids#, }" >"$_d/config.json"
	printf '[{"Config": "config.json", "RepoTags": ["%s"], "Layers": [%s]}]\n' \
		"$_image" "${_layers#, }" >"$_d/manifest.json"
	if ! tar -cf - -C "$_d" . | tiffin load -q >/dev/null; then
		rm -r "$_d"
		return 1
	fi
	rm -r "$_d"
}
