package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"tiffin/internal/test/must"
)

// stall is a home with the recipes of tutorial/recipes, and stand-ins for what only a server has.
type stall struct {
	p    person
	home string
	env  []string
}

// recipes makes the home of a person, with a lab 3 of one's own, what ada hands in for it, which is
// right, and what bob does.
func (p person) recipes(t *testing.T) *stall {
	need(t, p)
	home, err := os.MkdirTemp("", "tiffin-recipes-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	t.Cleanup(func() { checkLeaks(t, filepath.Join(home, "store")) })
	if err := os.CopyFS(filepath.Join(home, "recipes"), os.DirFS("../../tutorial/recipes")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"sudo": "#!/bin/sh\n",
		"ssh":  "#!/bin/sh\nfor command; do :; done\nexec sh -c \"$command\"\n",
		"scp":  "#!/bin/sh\nexec /usr/bin/scp -O -S \"$HOME/stubs/ssh\" \"$@\"\n",
	} {
		file := filepath.Join(home, "stubs", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, p.uid, p.gid)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := &stall{p, home, append(os.Environ(), "HOME="+home, "TIFFIN_ROOT="+home+"/store", "TIFFIN_LABS="+home+"/labs", "TIFFIN_LAB_DIR="+home+"/own", "LC_ALL=C")}
	s.mustRun(t, s.path(filepath.Dir(binary)), `tiffin lab new own/03-digest
		for who in ada bob; do
			export TIFFIN_LABS=$HOME/$who
			tiffin lab start 3
			cp own/03-digest/solution.sh $who/03-digest/solve.sh
			[ $who = ada ] || echo true >$who/03-digest/solve.sh
			tiffin lab submit -o $who.json
		done`)
	return s
}

// path is a PATH that begins with dir, and has no other tiffin.
func (s *stall) path(dir string) string { return "PATH=" + dir + ":" + s.home + "/stubs:/usr/bin:/bin" }

// run runs a script in bash, as Gradescope and GitHub do, and returns all that it prints.
func (s *stall) run(path, script string) (string, error) {
	cmd := exec.Command("bash", "-e", "-c", script)
	cmd.Dir, cmd.SysProcAttr, cmd.Env = s.home, s.p.attr(), append(s.env, path)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *stall) mustRun(t *testing.T, path, script string) string {
	t.Helper()
	out, err := s.run(path, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// has fails unless the file has the text.
func (s *stall) has(t *testing.T, file, want string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.home, file))
	if err != nil || !strings.Contains(string(b), want) {
		t.Errorf("%s (%v) has not %q:\n%s", file, err, want, b)
	}
}

// forbidden runs what follows where no user namespace can be made: user_namespaces(7), and
// namespaces(7), "The /proc/sys/user directory".
const forbidden = "unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"' sh "

// TestRecipes runs each recipe, for labs that are right, wrong, and cannot be judged.
func TestRecipes(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			s := p.recipes(t)
			for name, recipe := range map[string]func(*testing.T, *stall){
				"github": tryGitHub, "gradescope": tryGradescope, "classroom50": tryClassroom50, "class": tryClass,
			} {
				t.Run(name, func(t *testing.T) { recipe(t, s) })
			}
		})
	}
}

// tryGitHub runs the steps of the workflow one after the other, without what others made.
func tryGitHub(t *testing.T, s *stall) {
	must.Tool(t, "curl")
	text, err := os.ReadFile("../../tutorial/recipes/github-classroom.yml")
	if err != nil {
		t.Fatal(err)
	}
	var flow struct {
		Jobs map[string]struct {
			Steps []struct {
				Uses, Run string
				With      map[string]any
			}
		}
	}
	if err := yaml.Unmarshal(text, &flow); err != nil {
		t.Fatal(err)
	}
	const vars = "export RUNNER_TEMP=$HOME/runner GITHUB_PATH=/dev/null GITHUB_STEP_SUMMARY=$HOME/summary; mkdir -p $RUNNER_TEMP\n"
	s.env = append(s.env, "TIFFIN_URL=file://"+binary)
	graded := 0
	for who, passes := range map[string]bool{"ada": true, "bob": false} {
		s.mustRun(t, s.path("/none"), "cp "+who+".json submission.json; rm -f summary")
		for _, step := range flow.Jobs["grade"].Steps {
			if step.Run != "" {
				s.mustRun(t, s.path(s.home+"/runner"), vars+step.Run)
			}
			if command, ok := step.With["command"]; ok {
				graded++
				if out, err := s.run(s.path(s.home+"/runner"), vars+fmt.Sprint(command)); (err == nil) != passes {
					t.Errorf("%s: %v\n%s", who, err, out)
				}
			}
		}
		s.has(t, "summary", map[bool]string{true: "03-digest 10 of 10\n", false: "03-digest 2 of 10\n"}[passes])
	}
	if graded != 2 {
		t.Errorf("%d labs graded", graded)
	}
}

func tryGradescope(t *testing.T, s *stall) {
	path := s.path(s.home + "/prefix/bin")
	s.mustRun(t, path, `mkdir -p prefix/bin autograder/source autograder/submission autograder/results
		cp recipes/gradescope/* `+binary+` autograder/source; cp -r own autograder/source/labs
		PREFIX=$HOME/prefix AUTOGRADER=$HOME/autograder autograder/source/setup.sh`)
	const grade = "AUTOGRADER=$HOME/autograder autograder/source/run_autograder"
	const results = "autograder/results/results.json"
	s.mustRun(t, path, grade)
	s.has(t, results, "Hand in one file")
	s.mustRun(t, path, "cp bob.json autograder/submission/submission.json; "+grade)
	s.has(t, results, `"score": 2,`)
	s.mustRun(t, path, "cp ada.json autograder/submission/submission.json; "+grade)
	s.has(t, results, `"score": 10,`)
	s.mustRun(t, path, "sed -i 's/\"hints\": 0/\"hints\": 1/' autograder/submission/submission.json; "+grade)
	s.has(t, results, "was changed after it was made")
	out, err := s.run(path, "cp ada.json autograder/submission/submission.json; AUTOGRADER=$HOME/autograder "+forbidden+"autograder/source/run_autograder")
	if err == nil || !strings.Contains(out, "could not be graded") || !strings.Contains(out, "max_user_namespaces") {
		t.Errorf("where user namespaces are forbidden: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(s.home, results)); err == nil {
		t.Error("where user namespaces are forbidden there is a result")
	}
}

func tryClassroom50(t *testing.T, s *stall) {
	must.Tool(t, "python3")
	path := s.path(filepath.Dir(binary))
	const vars = "export CLASSROOM=os1 ASSIGNMENT=labs OWNER=ada SUBMISSION_TAG=submit/x COMMIT_URL=https://c RELEASE_URL=https://r\n"
	s.mustRun(t, path, vars+"cp ada.json submission.json; recipes/classroom50/autograder.py")
	s.has(t, "result.json", `"score": 10,`)
	out, err := s.run(path, vars+"rm result.json; "+forbidden+"recipes/classroom50/autograder.py")
	if err == nil || !strings.Contains(out, "could not be graded") {
		t.Errorf("where user namespaces are forbidden: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(s.home, "result.json")); err == nil {
		t.Error("where user namespaces are forbidden there is a result")
	}
}

// tryClass hands in over SSH, and grades for a table and for Moodle.
func tryClass(t *testing.T, s *stall) {
	must.Tool(t, "scp")
	path := s.path(filepath.Dir(binary))
	s.mustRun(t, path, `printf 'id,name,email\nada,Ada L,ada@x.example\nbob,Bob,\n' >roster.csv
		tiffin class new --roster roster.csv --labs 3 os1
		tiffin class pack -o room os1
		TIFFIN_LABS=$HOME/labs ./room class join ada $(sed -n 's/^ada,.*,//p' os1/tokens.csv)
		unset TIFFIN_LAB_DIR
		./room lab start 3
		cp own/03-digest/solution.sh labs/03-digest/solve.sh
		mkdir with-room; ln -s ../room with-room/tiffin
		recipes/ssh/box $HOME/box
		PATH=$HOME/with-room:$PATH recipes/ssh/hand-in server $HOME/box
		recipes/ssh/grade server $HOME/os1 $HOME/box
		recipes/moodle.sh os1 box`)
	s.has(t, "grades.csv", "ada,Ada L,ada@x.example,03-digest,passed,10,10,")
	s.has(t, "grades.csv", "bob,Bob,,03-digest,missing,0,10,")
	s.has(t, "moodle.csv", "\nada,Ada L,ada@x.example,10,")
	if box := s.mustRun(t, path, "ls -ld box; ls box"); !regexp.MustCompile(`^drwx-wx-wt .*\n.*-[0-9]+\.json\n$`).MatchString(box) {
		t.Errorf("the box: %s", box)
	}
}
