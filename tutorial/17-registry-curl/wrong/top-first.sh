# says: begin at the bottom
curl -sS -T index.form -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
	"$(cat address)/v2/$P.example/hand/manifests/$DAY"
