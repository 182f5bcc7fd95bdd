// What is made of the text of Dockerfiles: stages, words, and mistakes with their places.

package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"tiffin/internal/dockerfile"
)

// read reads a text and the instructions of its stage number n on an image with that environment.
func read(text string, n int, args map[string]string, env []string, onBuild ...string) (*dockerfile.File, []dockerfile.Instruction, error) {
	r := new(reader)
	a := r.answer(&dockerfile.Request{Parse: &dockerfile.Parse{Text: []byte(text), Args: args, Platform: "linux/amd64"}})
	if a.Error != nil {
		return nil, nil, a.Error
	}
	b := r.answer(&dockerfile.Request{Stage: &dockerfile.Base{Stage: n, Env: env, OnBuild: onBuild}})
	if b.Error != nil {
		return nil, nil, b.Error
	}
	return a.File, b.Instructions, nil
}

// TestWordsAreExpanded: the Dockerfile reference, "Environment replacement" and "ARG".
func TestWordsAreExpanded(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"ENV A=1 B=$A", `["A=1","B="]`}, // all of a line see what was before it
		{"ENV A=1\nENV B=${A:-x} C=${D:-x} E=${A:+y} F=\\$A", `["A=1","B=1","C=x","E=y","F=$A"]`},
		{"ENV P=$HERE/bin", `["P=/opt/bin"]`},
		{"ARG X\nENV A=$X", `["X=given","A=given"]`},
		{"ARG X=default\nENV A=$X", `["X=given","A=given"]`},
		{"ARG Y=default\nENV A=$Y", `["Y=default","A=default"]`},
		{"ARG G\nENV A=$G", `["G=global","A=global"]`},
		{"ENV A=$G", `["A="]`}, // not declared in the stage
		{"ENV X=env\nARG X\nENV A=$X", `["X=env","X=given","A=env"]`},
		{"ARG TARGETARCH\nENV A=$TARGETARCH", `["TARGETARCH=amd64","A=amd64"]`},
		{"LABEL \"a b\"='$X' c=\"$HERE\"", `["a b=$X","c=/opt"]`},
	} {
		_, list, err := read("ARG G=global\nFROM x\n"+c.text, 0, map[string]string{"X": "given"}, []string{"HERE=/opt"})
		var got []string
		for _, in := range list {
			for _, p := range in.Pairs {
				got = append(got, p.Key+"="+*p.Value)
			}
		}
		if b, _ := json.Marshal(got); err != nil || string(b) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.text, b, err, c.want)
		}
	}
}

// TestRunKnowsItsArguments: those of ARG before it that ENV does not hide; proxies do not count.
func TestRunKnowsItsArguments(t *testing.T) {
	_, list, err := read("FROM x\nARG A=1\nARG B\nENV C=3\nARG C=4\nRUN echo $A\nARG D=5", 0, map[string]string{"HTTP_PROXY": "p"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	run := list[4]
	if got := strings.Join(run.Args, " ") + "|" + strings.Join(run.Proxy, " ") + "|" + strings.Join(run.Words, " "); got != "A=1|HTTP_PROXY=p|echo $A" {
		t.Errorf("it knows %s", got)
	}
}

// TestStagesNeedOneAnother: only what the target needs is named.
func TestStagesNeedOneAnother(t *testing.T) {
	f, list, err := read("ARG V=1\nFROM go:$V AS build\nFROM scratch\nFROM build AS test\nCOPY --from=1 a b\nCOPY --from=Build a b\nCOPY --from=alpine a b", 2, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal([]any{f.Target, f.Stages[0].Base, f.Stages[2].From, f.Stages[2].Needs, f.Stages[2].Images, list[0].Copy.Stage, list[1].Copy.Stage, list[2].Copy.Stage})
	if want := `[2,"go:1",0,[0,1],["alpine"],1,0,-1]`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestOnBuildComesFirst: what a base leaves is done before the stage's own, and is no more than an
// instruction.
func TestOnBuildComesFirst(t *testing.T) {
	_, list, err := read("FROM x\nRUN two", 0, nil, nil, "RUN one", "COPY a b")
	if err != nil || len(list) != 3 || list[0].Words[0] != "one" || list[0].Line != 0 || list[1].Copy == nil || list[2].Words[0] != "two" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, bad := range []string{"ONBUILD RUN x", "FROM y", "RUN --mount=type=ssh true", "RUN --network=host true", "nonsense", ""} {
		if _, list, err := read("FROM x", 0, nil, nil, bad); err == nil {
			t.Errorf("ONBUILD %s is accepted: %+v", bad, list)
		}
	}
}

// TestMistakesHaveAPlace: line, column from 1 and the words that are meant.
func TestMistakesHaveAPlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"FROM x\n  EXPSE 80", "2:3 EXPSE unknown instruction: EXPSE (did you mean EXPOSE?)"},
		{"", "0:1  file with no instructions"},
		{"RUN x", "1:1 RUN x no build stage in current context"},
		{"FROM x\nCOPY a", "2:1 COPY a COPY requires at least two arguments, but only one was provided. Destination could not be determined"},
		{"FROM x\nCOPY --from=late a b\nFROM z AS late", `2:13 late the stage "late" comes later, or is this one`},
		{"FROM x\nRUN --mount=type=bind,from=y,target=/c \\\n true", "2:1 RUN --mount=type=bind,from=y,target=/c \\ RUN --mount=type=bind,from= is not there yet"},
		{"FROM x\nADD https://x/y /", `2:5 https://x/y ADD does not fetch "https://x/y" yet`},
		{"FROM x\nRUN --security=insecure x", "2:1 RUN --security=insecure x RUN --security is not there"},
		{"FROM x\nRUN --network=host x", "2:5 --network=host it takes `tiffin build --network host` to have RUN --network=host"},
		{"FROM $NOTHING", "1:6 $NOTHING the base is empty: $NOTHING"},
		{"FROM x\nENV a=${b", "2:7 ${b "},
		{"FROM x\n\tCOPY a \xff b\nONBUILD ONBUILD RUN", "3:1 ONBUILD ONBUILD RUN "},
	} {
		_, _, err := read(c.text, 0, nil, nil)
		var n *dockerfile.Note
		if !errors.As(err, &n) {
			t.Errorf("%q is accepted", c.text)
			continue
		}
		b, _ := json.Marshal(n.Line)
		col, _ := json.Marshal(n.Column + 1)
		if got := string(b) + ":" + string(col) + " " + n.Source[n.Column:n.Column+n.Length] + " " + n.Message; !strings.HasPrefix(got, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// TestTheNetworkOfTheHostIsGiven by whoever builds, never by the text alone.
func TestTheNetworkOfTheHostIsGiven(t *testing.T) {
	for _, host := range []bool{false, true} {
		a := new(reader).answer(&dockerfile.Request{Parse: &dockerfile.Parse{Text: []byte("FROM x\nRUN --network=host x"), Host: host}})
		if (a.Error == nil) != host {
			t.Errorf("allowed: %t: %v", host, a.Error)
		}
	}
}

// TestBuildArgumentsThatNothingTakesAreNamed.
func TestBuildArgumentsThatNothingTakesAreNamed(t *testing.T) {
	f, _, err := read("ARG A\nFROM x\nARG B", 0, map[string]string{"A": "", "B": "", "C": "", "https_proxy": "", "TARGETARCH": ""}, nil)
	if err != nil || strings.Join(f.Unused, " ") != "C" {
		t.Errorf("%v, %v", f, err)
	}
}

// FuzzReader: whatever the text is, there is an answer.
func FuzzReader(f *testing.F) {
	f.Add("FROM x\nENV A=${B:-$C}\nRUN <<E cat\nx\nE\nCOPY --from=y [\"a\", \"b\"]\nONBUILD RUN x", "RUN x")
	f.Add("# escape=`\nARG A=`\nFROM $A AS b\nHEALTHCHECK --interval=1s CMD x", "COPY <<E /\nx\nE")
	f.Fuzz(func(_ *testing.T, text, onBuild string) {
		_, _, _ = read(text, 0, map[string]string{"A": "${B}"}, []string{"B=$A"}, onBuild)
	})
}
