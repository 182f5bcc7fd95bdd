package layer_test

import (
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

func TestSkippedPathsAreNoChangeWhileTheyAreEmpty(t *testing.T) {
	x, flats := image(t, tt.Of(t, tt.Dir("etc"), tt.File("etc/passwd", ""), tt.Dir("var", tt.Mode(0o750)), tt.Dir("home"), tt.File("gone", "")))
	dir := upper(t,
		real{path: "etc", dir: true, attrs: origin(x, "etc"), sec: 9}, real{path: "etc/hosts"}, // made, so /etc is copied up
		real{path: "var", dir: true, attrs: origin(x, "var", layer.XattrOverride, "0:0:0700:dir")}, real{path: "var/made", dir: true}, // chmod besides
		real{path: "mnt", dir: true}, real{path: "mnt/a", dir: true}, // both made
		real{path: "srv", dir: true}, real{path: "srv/f", data: "user's"}, // used since
		real{path: "gone", dir: true}) // hides a file of the image
	skip := map[string]bool{"/etc/hosts": true, "/var/made": true, "/mnt/a": true, "/srv": true, "/gone": true, "/nowhere": true}
	checkDiff(t, &layer.Upper{Dir: dir, Lower: x, Flats: flats, Skip: func(p string) bool { return skip[p] }}, `
		drwxr-xr-x 0:0 0 gone/
		drwxr-xr-x 0:0 0 srv/
		-rw-r--r-- 0:0 6 srv/f = "user's"
		drwx------ 0:0 0 var/`, `
		C /gone
		A /srv
		A /srv/f
		C /var`)
}
