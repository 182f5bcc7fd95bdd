// What is made of the text of Dockerfiles: stages, words, and mistakes with their places.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
		{"ENV B=1\nARG Y='$B'\nENV A=$Y", `["B=1","Y=$B","A=$B"]`}, // once
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
	for _, bad := range []string{"ONBUILD RUN x", "FROM y", "RUN --security=insecure true", "RUN --network=host true", "nonsense", ""} {
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
		{"FROM x\nRUN --mount=type=tmpfs,target=/a,uid=7 \\\n true", `2:18 tmpfs uid not allowed for "tmpfs" type mounts`},
		{"FROM x\nRUN --mount=type=bind,from=late,target=/c true\nFROM x AS late", `2:28 late the stage "late" comes later`},
		{"FROM x\nADD --checksum=sha256:a f /", "2:5 --checksum=sha256:a --checksum is for what ADD fetches"},
		{"# check=nonsense=1\nFROM x", "1:9 nonsense # check=nonsense=1: "},
		{"FROM x\nRUN --security=insecure x", "2:1 RUN --security=insecure x RUN --security is not there"},
		{"FROM x\nRUN --network=host x", "2:5 --network=host it takes `tiffin build --network host` to have RUN --network=host"},
		{"FROM $NOTHING", "1:6 $NOTHING the base is empty: $NOTHING"},
		{"FROM x\nENV a=${b", "2:7 ${b "},
		{"FROM x\n\tCOPY a \xff b\nONBUILD ONBUILD RUN", "3:1 ONBUILD ONBUILD RUN "},
	} {
		if got := mistake(c.text); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}

// mistake is LINE:COLUMN, what is meant and the message; "" if there is none.
func mistake(text string) string {
	_, _, err := read(text, 0, nil, nil)
	var n *dockerfile.Note
	if !errors.As(err, &n) {
		return ""
	}
	return fmt.Sprintf("%d:%d %s %s", n.Line, n.Column+1, n.Source[n.Column:n.Column+n.Length], n.Message)
}

// TestWordsAreBounded: what a few lines can ask for is more than any machine has.
func TestWordsAreBounded(t *testing.T) {
	many, twice := "FROM x\nENV A="+strings.Repeat("x", 60_000), "ARG A=xxxxxxxxxxxxxxxx\n"
	for range 40 {
		twice += "ARG A=$A$A\n"
	}
	for _, c := range []struct{ text, want string }{
		{many + "\nENV B=" + strings.Repeat("$A", 20_000), `3:7 $A$A$A$A$A$A$A$A$A$A$A$A$A$A$A with its variables replaced, a word has more than 131072 bytes: "$A$A$A`},
		{many + "\nLABEL b=" + strings.Repeat("${A:-x}", 5_000), "3:9 ${A:-x}${A:-x}${A:-x}${A:-x}${ with its"},
		{many + "\nEXPOSE " + strings.Repeat("${A}", 10_000), "3:8 ${A}"},
		{many + strings.Repeat("\nLABEL b=${A}$A", 100), "72:1 LABEL b=${A}$A with their variables replaced, the words of the stage have more than 8388608 bytes"},
		{many + "\nCOPY <<E /\n" + strings.Repeat("$A", 200) + "\nE", "3:1 COPY <<E / with its variables replaced, a word has more than 8388608 bytes"},
		{many + "\nENV B=${A//x/$A}", `3:7 ${A//x/$A} too much text is replaced in variables: "${A//x/$A}"`},
		{many + "\nENV B=${A//x/${A//x/$A}}", "3:7 ${A//x/${A//x/$A}} too much"},
		{"FROM x\nENV A=" + strings.Repeat("x", 900) + "\nENV B=${A//x/${A//x/$A}}", "3:7 ${A//x/${A//x/$A}} too much"},
		{many + "\nENV B=${A/x/" + strings.Repeat("y", 20_000) + "}", "3:7 ${A/x/yyyyyyyyyyyyyyyyyyyyyyyy too much"},
		{twice + "FROM x", "15:7 $A$A with its"},
		{"FROM x\n" + twice, "16:7 $A$A with its"},
		{"FROM x" + strings.Repeat("\nUSER x", maxInstructions+1), "0:1  it has 10001 instructions; a Dockerfile may have 10000"},
	} {
		if got := mistake(c.text); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.60q…:\n got %.300s\nwant %s", c.text, got, c.want)
		}
	}
}

// TestChecksAreThoseOfBuildKit, by their names; "# check=" leaves some out.
func TestChecksAreThoseOfBuildKit(t *testing.T) {
	for text, want := range map[string]string{
		"FROM x AS One\nRUN a \\\n\n b":                                    "StageNameCasing NoEmptyContinuation",
		"FROM x as scratch\nFROM x AS a\nFROM x AS a":                      "FromAsCasing ReservedStageName DuplicateStageName",
		"FROM x\nrun y":                                                    "ConsistentInstructionCasing",
		"FROM --platform=$TARGETPLATFORM x\nFROM --platform=a x":           "RedundantTargetPlatform FromPlatformFlagConstDisallowed",
		"FROM x$Y\nMAINTAINER me":                                          "UndefinedArgInFrom MaintainerDeprecated",
		"FROM x\nWORKDIR a\nWORKDIR b\nENV K v":                            "WorkdirRelativePath LegacyKeyValueFormat",
		"FROM x\nCMD a\nCMD [\"b\"]":                                       "JSONArgsRecommended MultipleInstructionsDisallowed",
		"FROM x\nSHELL [\"s\"]\nENTRYPOINT a":                              "",
		"ARG V=\nFROM x:$V":                                                "InvalidDefaultArgInFrom",
		"ARG V=1\nFROM x:$V":                                               "",
		"FROM x\nENV API_KEY=a PUBLIC_KEY=1":                               "SecretsUsedInArgOrEnv",
		"FROM x\nEXPOSE 1/TCP 2:3":                                         "ExposeProtoCasing ExposeInvalidFormat",
		"FROM x\nENV A=$B${C:-d}\nLABEL a=$A p=$PATH":                      "UndefinedVar",
		"# check=skip=UndefinedVar,LegacyKeyValueFormat\nFROM x\nENV A $B": "",
	} {
		r := new(reader)
		a := r.answer(&dockerfile.Request{Parse: &dockerfile.Parse{Text: []byte(text), Platform: "linux/amd64"}})
		b := r.answer(&dockerfile.Request{Stage: &dockerfile.Base{}})
		names := map[string]bool{}
		for _, n := range append(a.Warnings, b.Warnings...) {
			names[n.Rule] = true
		}
		wanted := map[string]bool{}
		for _, n := range strings.Fields(want) {
			wanted[n] = true
		}
		if a.Error != nil || !maps.Equal(names, wanted) {
			t.Errorf("%q: %v, %v; want %s", text, names, a.Error, want)
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
