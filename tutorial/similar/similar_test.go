package similar

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"
)

const original = `# what I have found
set -e
tiffin run -d --name lab03-web --hostname $HOST tiffin/base sleep 1000
pid=$(tiffin inspect -f '{{.State.Pid}}' lab03-web)
awk -v u=4711 '$1 == u { print $3 }' /proc/$pid/uid_map | head -n 1 >answer
for i in 1 2 3; do stat -c %u /proc/$pid/root | tee -a log; done
sed -i "s/^$/none/" answer
`

// disguised is the same with other comments, white space, quotes, order, names and numbers.
const disguised = `set -e   # begin
tiffin run --name shop -d  --hostname "$HOST" tiffin/base sleep 2000
process=$(tiffin inspect -f "{{.State.Pid}}" shop)

sed -i 's/^$/none/' answer
awk -v u=1234 '$1 == u { print $3 }' "/proc/$process/uid_map" |
  head -n 5 > answer
for n in 1 2 3
do
	stat -c %u /proc/${process}/root | tee -a log
done
`

// class makes works of students who answered alike, but each in their own way.
func class(n int) (all []Work) {
	r := rand.New(rand.NewSource(1))
	ways := []string{"cat /proc/$p/uid_map >answer", "id -u >answer", "tiffin enter lab03-x id >answer", "ps -o uid= >answer", "stat -c %u . >answer"}
	for i := range n {
		script := "tiffin run -d --name lab03-x tiffin/base sleep 100\n"
		for _, w := range r.Perm(len(ways))[:3] {
			script += ways[w] + "\n"
		}
		script += fmt.Sprintf("grep own%c%c answer\n", 'a'+i%26, 'a'+i/26)
		all = append(all, Work{Student: fmt.Sprint("s", i), Lab: "03-x", Seed: fmt.Sprint(i), Script: script})
	}
	return all
}

func TestACopyIsFoundInAClass(t *testing.T) {
	works := append(class(100), Work{Student: "ada", Lab: "03-x", Seed: "a", Script: original}, Work{Student: "bob", Lab: "03-x", Seed: "b", Script: disguised})
	pairs := Pairs(works, nil)
	if len(pairs) != 1 || pairs[0].A != "ada" || pairs[0].B != "bob" || pairs[0].Percent < 80 || len(pairs[0].Shared) != maxShown {
		t.Fatalf("%+v", pairs)
	}
	if why := pairs[0].Why; !strings.Contains(why, "hardly anybody else has") {
		t.Error(why)
	}
	// What the lab tells proves nothing, and neither does what one student hands in twice.
	if pairs := Pairs(works, map[string]string{"03-x": disguised}); len(pairs) != 0 {
		t.Errorf("%+v", pairs)
	}
	works[len(works)-1].Student = "ada"
	if pairs := Pairs(works, nil); len(pairs) != 0 {
		t.Errorf("%+v", pairs)
	}
}

func TestSameValuesUnderDifferentSeeds(t *testing.T) {
	works := append(class(20), Work{Student: "ada", Lab: "03-x", Seed: "a", Script: "echo 47113 >answer"}, Work{Student: "bob", Lab: "03-x", Seed: "b", Script: "printf '%s\n' 47113 | tee answer"})
	pairs := Pairs(works, nil)
	if len(pairs) != 1 || pairs[0].Shared[0] != "47113" || !strings.Contains(pairs[0].Why, "their seeds differ") {
		t.Fatalf("%+v", pairs)
	}
	if pairs := Pairs(works, map[string]string{"03-x": "use 47113"}); len(pairs) != 0 {
		t.Errorf("%+v", pairs)
	}
	works[len(works)-1].Seed = "a"
	if pairs := Pairs(works, nil); len(pairs) != 0 {
		t.Errorf("%+v", pairs)
	}
	file := map[string][]byte{"answer.go": []byte("package main // the same in both")}
	works[len(works)-2] = Work{Student: "ada", Lab: "03-x", Seed: "a", Files: file}
	works[len(works)-1] = Work{Student: "bob", Lab: "03-x", Seed: "b", Files: file}
	if pairs := Pairs(works, nil); len(pairs) != 1 || pairs[0].Shared[0] != "the file answer.go" {
		t.Errorf("%+v", pairs)
	}
	works[len(works)-2].Files = map[string][]byte{"answer": []byte("uid:  47113\n")}
	works[len(works)-1].Files = map[string][]byte{"answer": []byte("uid: 47113")}
	if pairs := Pairs(works, nil); len(pairs) != 1 || pairs[0].Shared[0] != "47113" {
		t.Errorf("%+v", pairs)
	}
}

// TestAnythingCanBeHandedIn: no input is slow or makes a panic.
func TestAnythingCanBeHandedIn(t *testing.T) {
	var works []Work
	for i, s := range []string{"", "'", "\\", "$(((((", "a=", "--name", "for", strings.Repeat("$(", 1<<20), strings.Repeat("a b\n", 1<<19), "\xff\x00 =x\n="} {
		works = append(works, Work{Student: fmt.Sprint(i), Lab: "x", Script: s})
	}
	begun := time.Now()
	Pairs(works, map[string]string{"x": "'"})
	for i := range 600 {
		works = append(works, Work{Student: fmt.Sprint("s", i), Lab: fmt.Sprint(i % 3), Script: original + disguised})
	}
	Pairs(works, nil)
	if d := time.Since(begun); d > 2*time.Minute {
		t.Errorf("it takes %v", d)
	}
}
