package image

import (
	"encoding/json"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/errs"
)

func TestChangesAreAppliedByDockersRules(t *testing.T) {
	base := ocispec.ImageConfig{Env: []string{"PATH=/bin", "HOME=/root"}, Cmd: []string{"old"}, WorkingDir: "/srv", Labels: map[string]string{"a": "1"}}
	for _, c := range []struct{ change, want string }{
		{`CMD ["a", "b c"]`, `"Cmd":["a","b c"]`},
		{`cmd echo $HOME "x y"`, `"Cmd":["/bin/sh","-c","echo $HOME \"x y\""]`},
		{`CMD [not json`, `"Cmd":["/bin/sh","-c","[not json"]`},
		{`ENTRYPOINT ["/init"]`, `"Entrypoint":["/init"]`},
		{`ENV A=1 B="two words" C=a\ b`, `"Env":["PATH=/bin","HOME=/root","A=1","B=two words","C=a b"]`},
		{`ENV A the rest  of it`, `"Env":["PATH=/bin","HOME=/root","A=the rest  of it"]`},
		{`ENV PATH=/opt:$PATH X=${HOME}/x Y='$HOME' Z=${NO:-d} W=${HOME:+set}`, `"Env":["PATH=/opt:/bin","HOME=/root","X=/root/x","Y=$HOME","Z=d","W=set"]`},
		{`ENV A=1 B=$A`, `"Env":["PATH=/bin","HOME=/root","A=1","B="]`},
		{`LABEL a=2 "b c"="d e"`, `"Labels":{"a":"2","b c":"d e"}`},
		{`EXPOSE 80 53/udp 8000-8002/TCP`, `"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{},"8002/tcp":{}}`},
		{`USER alice:staff`, `"User":"alice:staff"`},
		{`WORKDIR /a/../b`, `"WorkingDir":"/b"`},
		{`WORKDIR sub dir`, `"WorkingDir":"/srv/sub dir"`},
		{`STOPSIGNAL SIGRTMIN+3`, `"StopSignal":"SIGRTMIN+3"`},
		{`STOPSIGNAL 9`, `"StopSignal":"9"`},
		{`VOLUME ["/a b", "/c"]`, `"Volumes":{"/a b":{},"/c":{}}`},
		{`VOLUME /a /b`, `"Volumes":{"/a":{},"/b":{}}`},
	} {
		cfg := base
		if err := ApplyChanges(&cfg, []string{c.change}); err != nil {
			t.Errorf("%s: %v", c.change, err)
			continue
		}
		b, _ := json.Marshal(cfg)
		if !strings.Contains(strings.ReplaceAll(string(b), `\u0026`, "&"), c.want) {
			t.Errorf("%s gives %s, without %s", c.change, b, c.want)
		}
	}
	if len(base.Env) != 2 || base.Labels["a"] != "1" {
		t.Errorf("the config given was changed: %+v", base)
	}
}

func TestAnEntryPointTakesTheOldCommandAway(t *testing.T) {
	cfg := ocispec.ImageConfig{Cmd: []string{"old"}}
	if err := ApplyChanges(&cfg, []string{`ENTRYPOINT ["/init"]`}); err != nil || cfg.Cmd != nil {
		t.Errorf("%v %v", cfg.Cmd, err)
	}
	cfg = ocispec.ImageConfig{Cmd: []string{"old"}}
	if err := ApplyChanges(&cfg, []string{`CMD ["new"]`, `ENTRYPOINT ["/init"]`}); err != nil || len(cfg.Cmd) != 1 || cfg.Cmd[0] != "new" {
		t.Errorf("%v %v", cfg.Cmd, err)
	}
}

func TestWrongChangesAreRefusedAndChangeNothing(t *testing.T) {
	for _, change := range []string{"", "RUN x", "FROM y", "ENV", "ENV A", "ENV =x", `ENV A="x`, "LABEL x", "EXPOSE 0-x", "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE 1/icmp",
		"STOPSIGNAL 65", "STOPSIGNAL a;b", "USER", "WORKDIR", "VOLUME", `VOLUME [""]`, "ENV A=${B", "ENV A=${B:?c}", "ENV A=${}"} {
		cfg := ocispec.ImageConfig{User: "u"}
		err := ApplyChanges(&cfg, []string{"USER other", "ENV A=1", change})
		if err == nil {
			t.Errorf("%q is accepted", change)
			continue
		}
		if cfg.User != "u" || len(cfg.Env) != 0 {
			t.Errorf("%q: half of it was done: %+v", change, cfg)
		}
		if strings.HasSuffix(err.Error(), ".") || strings.HasPrefix(change, "RUN") && errs.HintOf(err) == "" {
			t.Errorf("%q: %v", change, err)
		}
	}
}

func FuzzChange(f *testing.F) {
	for _, s := range []string{`CMD ["a"]`, "ENV A=${B:-$C} D='x'", "EXPOSE 1-3/udp", `LABEL "a b"=c\ d`, "WORKDIR $X/y", "VOLUME [\"/a\"]", "ENV A=${A:-${A:-${A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		cfg := ocispec.ImageConfig{Env: []string{"A=1", "B=$A"}}
		err := ApplyChanges(&cfg, []string{s})
		if err != nil && (len(cfg.Env) != 2 || cfg.Cmd != nil) {
			t.Errorf("%q failed with %v and changed the config", s, err)
		}
	})
}
