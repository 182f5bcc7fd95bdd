# The registry is asked, by a client that knows nothing but HTTP; it is one of the check's own, since
# the student's may have ended.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tiffin serve -q --read-only --addr 127.0.0.1:0 >"$tmp/address" 2>/dev/null &
for _ in $(seq 200); do
	if [ -s "$tmp/address" ]; then break; fi
	sleep 0.05
done
registry=$(cat "$tmp/address")
kind=application/vnd.oci.image
accept="Accept: $kind.index.v1+json, $kind.manifest.v1+json"
# get NAME WHAT FILE: fetches /v2/NAME/WHAT and prints its media type; nothing if it is not there.
get() {
	if curl -q -fs --noproxy '*' -H "$accept" -o "$3" -w '%{content_type}' "$registry/v2/$P.example/$1/$2" >"$tmp/type"; then
		cat "$tmp/type"
	else
		rm -f "$3"
	fi
}
# json TEMPLATE FILE: a value of a JSON text, nothing if there is none.
json() { if [ -f "$2" ]; then tiffin lab json "$1" <"$2" 2>/dev/null || :; fi; }
of() { printf '{{range .manifests}}{{if eq .platform.architecture "%s"}}%s{{end}}{{end}}' "$1" "$2"; }
digest_of() { if [ -f "$1" ]; then printf 'sha256:%s' "$(sha256sum <"$1" | cut -d ' ' -f 1)"; fi; }

# 1, 2: lunch, as the store has it.
type=$(get lunch "manifests/$TAG" "$tmp/lunch")
index=$(digest_of "$tmp/lunch")
amd=$(json "$(of amd64 '{{.digest}}')" "$tmp/lunch") arm=$(json "$(of arm64 '{{.digest}}')" "$tmp/lunch")
amd_recipe= arm_recipe= parts=
for a in amd arm; do
	eval "d=\$$a"
	type=$(get lunch "manifests/${d:-none}" "$tmp/$a")
	l=$(json '{{(index .layers 0).digest}}' "$tmp/$a")
	parts="$parts $(json '{{.config.digest}}' "$tmp/$a") $l"
	type=$(get lunch "blobs/${l:-none}" "$tmp/$a.tar")
	eval "${a}_recipe=\$(tar -xOf '$tmp/$a.tar' 'srv/$SPICE' 2>/dev/null || :)"
done
gone="The image $P.example/lunch is not in the store any more. \`tiffin lab reset\` makes it again."

name='manifest names what arm64 gets of lunch'
found=$(answer manifest) form='sha256: and 64 digits, the index has them' why=
case $found in
'') why='The file manifest is not written yet.' ;;
"$arm") ;;
"$index") why='That is the index: the list. The registry says its digest in the answer to the tag; what arm64 gets is one of the entries.' ;;
"$amd") why='That is for amd64. Each entry of the index has a platform; read the digest of the one with arm64.' ;;
sha256:*)
	case " $parts " in
	*" $found "*) why='That is the config or the layer. The index names manifests, and these name configs and layers.' ;;
	*) why='The index has no such entry. The names of bytes are what sha256sum prints for them: compare.' ;;
	esac
	;;
*) why='A digest is the function and the digits: sha256: and 64 of them.' ;;
esac
if [ -z "$arm" ]; then why=$gone; fi
if [ -z "$why" ]; then pass "$name" 2 "$found"; else fail "$name" 2 "$form" "$found" "$why"; fi

name="recipe is what arm64 finds at /srv/$SPICE"
found=$(answer recipe) why=
case $found in
'') why="The layer is a blob: GET …/blobs/DIGEST answers with the tarball, and tar -xOf - srv/$SPICE takes the file out." ;;
"$arm_recipe") ;;
"$amd_recipe") why="That is the recipe for amd64. \`tiffin pull\` and \`run\` take the entry for the machine that they are on; ask for the other yourself." ;;
*) why='Those are other bytes than those in the layer that the manifest for arm64 names.' ;;
esac
if [ -z "$arm_recipe" ]; then why=$gone; fi
if [ -z "$why" ]; then pass "$name" 2 "$found"; else fail "$name" 2 "one line about $SPICE" "$found" "$why"; fi

# 3: hand.
name="hand:$DAY is an index"
type=$(get hand "manifests/$DAY" "$tmp/hand")
case $type in
'') found='404 Not Found' why='The registry has nothing under this tag. What did it answer to the last PUT? It refuses an index whose manifests it lacks, and a manifest whose blobs it lacks: begin at the bottom.' ;;
$kind.manifest.*) found=$type why='That is a manifest, so one platform has taken the name for all. A manifest of an index is sent under its digest; the tag is for the index.' ;;
*) found=$type why='The registry calls it something else than an index: Content-Type and mediaType say what it is.' ;;
esac
if [ "$type" = "$kind.index.v1+json" ]; then pass "$name" 2 "$type"; else fail "$name" 2 "$kind.index.v1+json" "$found" "$why"; fi

# 4, 5: its entries.
for a in amd64 arm64; do
	name="hand:$DAY has the image for $a"
	if [ $a = amd64 ]; then other=arm64; else other=amd64; fi
	want=$(digest_of $a/manifest.json)
	found=$(json "$(of $a '{{.platform.os}} {{.digest}}')" "$tmp/hand")
	if [ "$found" = "linux $want" ] && [ "$(get hand "manifests/$want" "$tmp/m")" = $kind.manifest.v1+json ]; then
		pass "$name" 2 "$want"
		continue
	fi
	case $found in
	'')
		why="The index has no entry for the architecture $a: whoever is on such a machine gets nothing, or an image that cannot run."
		if [ ! -s "$tmp/hand" ]; then why='First there has to be an index.'; fi
		;;
	"linux $(digest_of $other/manifest.json)") why="The entry says $a, and names the image for $other. The registry believes it, and so does every client: the programs in it cannot run there." ;;
	"linux "*) why="That is not the digest of $a/manifest.json. It is what sha256sum prints for that file, without a change." ;;
	*) why='The os of both is linux.' ;;
	esac
	fail "$name" 2 "linux ${want:-the manifest in $a}" "$found" "$why"
done
