package parser

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/compose"
)

// read reads a project of these files, by name, in a directory "box".
func read(t *testing.T, files map[string]string, q compose.Request) compose.Answer {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "box")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return Read(q)
}

// words are those of each service, without labels and names.
func words(t *testing.T, a compose.Answer) map[string][]string {
	t.Helper()
	if a.Project == nil {
		t.Fatalf("problems: %q", a.Problems)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, s := range a.Project.Services {
		for _, w := range s.Words() {
			if !strings.HasPrefix(w, "--label=com.docker.") && !strings.HasPrefix(w, "--name=") && !strings.HasPrefix(w, "--network") {
				all[s.Name] = append(all[s.Name], strings.ReplaceAll(w, here, "HERE"))
			}
		}
	}
	return all
}

// TestWords: what becomes of each attribute.
func TestWords(t *testing.T) {
	for yaml, want := range map[string]string{
		`command: echo "a b"`:                                                 `-- i|echo|a b`,
		`entrypoint: [e, "1"], command: [c]`:                                  `--entrypoint=e -- i|1|c`,
		`entrypoint: e`:                                                       `--entrypoint=e -- i`,
		`environment: [A=1, "B=x y", GONE]`:                                   `--env=A=1 --env=B=x y -- i`,
		`environment: {A: 1, N: "${NOPE:-d}"}`:                                `--env=A=1 --env=N=d -- i`,
		`env_file: e.env, environment: {A: over}`:                             `--env=A=over --env=F=1 -- i`,
		`working_dir: /w, user: "1:2", tty: true`:                             `--workdir=/w --user=1:2 --tty -- i`,
		`stdin_open: true, init: true`:                                        `--interactive --init -- i`,
		`hostname: h, domainname: d`:                                          `--hostname=h --domainname=d -- i`,
		`dns: 1.1.1.1, dns_search: [a, b]`:                                    `--dns=1.1.1.1 --dns-search=a --dns-search=b -- i`,
		`extra_hosts: ["a:1.2.3.4"]`:                                          `--add-host=a:1.2.3.4 -- i`,
		`labels: {b: 1, a: "="}`:                                              `--label=a== --label=b=1 -- i`,
		`volumes: ["./d:/d:ro", "/x:/y"]`:                                     `--volume=HERE/d:/d:ro --volume=/x:/y -- i`,
		`volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}]`: `--tmpfs=/t:size=1048576,mode=700 -- i`,
		`volumes: [/cache], volumes_from: ["container:x:ro"]`:                 `--mount=type=volume,target=/cache --volumes-from=x:ro -- i`,
		`tmpfs: /run`: `--tmpfs=/run -- i`,
		`ports: ["80", "8080:80", "127.0.0.1:1-2:3-4/udp", "[::1]:5:6"]`: `--publish=80/tcp --publish=8080:80/tcp --publish=127.0.0.1:1:3/udp --publish=127.0.0.1:2:4/udp --publish=[::1]:5:6/tcp -- i`,
		`expose: ["80"]`: `--expose=80 -- i`,
		`read_only: true, privileged: true, cap_drop: [ALL], cap_add: [KILL]`: `--read-only --privileged --cap-add=KILL --cap-drop=ALL -- i`,
		`ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}`:                     `--ulimit=nofile=1:2 --ulimit=nproc=3 -- i`,
		`devices: ["/dev/fuse", "/dev/a:/dev/b"]`:                             `--device=/dev/fuse --device=/dev/a:/dev/b -- i`,
		`cpus: 1.5, mem_limit: 1g, pids_limit: 9, shm_size: 1m`:               `--cpus=1.5 --memory=1073741824 --pids-limit=9 --shm-size=1048576 -- i`,
		`ipc: host`: `--ipc=host -- i`,
		`deploy: {replicas: 1, resources: {limits: {cpus: "0.1", memory: 64m, pids: 5}}}`:             `--cpus=0.1 --memory=67108864 --pids-limit=5 -- i`,
		`group_add: [7, games], sysctls: {net.core.somaxconn: 9}, logging: {options: {max-size: 1m}}`: `--log-opt=max-size=1m --group-add=7 --group-add=games --sysctl=net.core.somaxconn=9 -- i`,
		`stop_signal: INT, stop_grace_period: 1500ms, logging: {driver: none}`:                        `--log-driver=none --stop-signal=INT --stop-timeout=2 -- i`,
		`healthcheck: {test: exit 0, interval: 2s, retries: 2, start_period: 1m}`:                     `--health-cmd=exit|0 --health-interval=2s --health-start-period=1m0s --health-retries=2 -- i`,
		`healthcheck: {test: [CMD, a, "b c"], start_interval: 1s, timeout: 9s}`:                       `--health-cmd=["a","b|c"] --health-timeout=9s --health-start-interval=1s -- i`,
		`healthcheck: {interval: 2s}`:  `--health-interval=2s -- i`,
		`healthcheck: {test: [NONE]}`:  `--no-healthcheck -- i`,
		`healthcheck: {disable: true}`: `--no-healthcheck -- i`,
		`pull_policy: if_not_present, platform: linux/amd64, x-mine: {a: b}, restart: "no"`: `--platform=linux/amd64 --pull=missing -- i`,
	} {
		a := read(t, map[string]string{"compose.yaml": "services: {s: {image: i, " + yaml + "}}", "e.env": "F=1\nA=file\n"}, compose.Request{})
		if got := words(t, a)["s"]; strings.Join(got, " ") != strings.ReplaceAll(want, "|", " ") || !slices.Contains(got, "--") {
			t.Errorf("%s:\n got %s\nwant %s", yaml, strings.Join(got, " "), want)
		}
	}
}

// TestNothingIsPassedOver: what has no counterpart here is named, with file and line.
func TestNothingIsPassedOver(t *testing.T) {
	for yaml, want := range map[string]string{
		"    gpus: all":                          `compose.yaml:4: services.s.gpus: not known here`,
		"    build: {context: ., network: host}": `compose.yaml:4: services.s.build.network: not known here`,
		"    volumes:\n    - {type: volume, source: d, target: /d, volume: {subpath: x}}\nvolumes: {d: {}}": `compose.yaml:5: services.s.volumes.[].volume.subpath: not known here`,
		"    volumes: [data:/d]\nvolumes:\n  data: {driver: nfs}":                                           `compose.yaml:6: volumes.data.driver: a volume is a directory here, with nothing to choose`,
		"    volumes: [data:/d]\nvolumes:\n  data: {driver_opts: {o: bind}}":                                `compose.yaml:6: volumes.data.driver_opts`,
		"    ports:\n    - 80:80\n    - target: 1\n      name: x":                                           `compose.yaml:7: services.s.ports.[].name: not known here`,
		"    foo: 1":                                        `compose.yaml:4: services.s.foo: not known here`,
		"    oom_score_adj: 5":                              `compose.yaml:4: services.s.oom_score_adj: not known here`,
		"    pull_policy: daily":                            `compose.yaml:4: services.s.pull_policy: "daily" is none of always, never and missing`,
		"    restart: often":                                `compose.yaml:4: services.s.restart: "often" is none of no, always, unless-stopped, on-failure and on-failure:NUMBER`,
		"    scale: 2":                                      `compose.yaml:4: services.s.scale: each service is one container`,
		"    logging: {driver: syslog}":                     `compose.yaml:4: services.s.logging.driver: "syslog" is none of json-file, local and none`,
		"    devices:\n    - /dev/a:/dev/a:r":               `compose.yaml:5: services.s.devices.0: a device's owner and mode say who may do what, not "r"`,
		"    healthcheck: {test: [CMD]}":                    `compose.yaml:4: services.s.healthcheck.test: it is neither a line nor begins with CMD, CMD-SHELL or NONE`,
		"    command: []":                                   `compose.yaml:4: services.s.command: the image's command cannot be taken away without an entrypoint`,
		"    secrets: [a]\nsecrets:\n  a: {environment: A}": `compose.yaml:6: secrets.a.environment: a secret is a file of yours`,
		"    configs: [{source: a, mode: 0400}]\nconfigs: {a: {file: b}}": `compose.yaml:4: services.s.configs.[].mode: a config is a file of yours`,
		"networks: {default: {internal: true}}":                           `compose.yaml:4: networks.default.internal: not known here`,
		"networks: {default: {driver: macvlan}}":                          `compose.yaml:4: networks.default.driver: a network is a virtual switch, with nothing to choose`,
		"    <<: *base\nx-base: &base\n  isolation: process":              `compose.yaml: line 4: `,
		"    image: [": `compose.yaml: line 5: `,
	} {
		a := read(t, map[string]string{"compose.yaml": "services:\n  s:\n    image: i\n" + yaml + "\n"}, compose.Request{})
		if len(a.Problems) != 1 || !strings.HasPrefix(a.Problems[0], want) || a.Project != nil {
			t.Errorf("%s:\n got %q\nwant %q", yaml, a.Problems, want)
		}
	}
}

// TestPlacesInOtherFiles: a line is in the file that says so last, in one that another includes,
// and behind a merge key.
func TestPlacesInOtherFiles(t *testing.T) {
	a := read(t, map[string]string{
		"compose.yaml":          "include: [more.yaml]\nservices:\n  s: {image: i, isolation: process}\n  m:\n    <<: *base\n    image: i\nx-base: &base\n  a: 1\n",
		"compose.override.yaml": "services:\n\n  s: {isolation: hyperv}\n",
		"more.yaml":             "services:\n  other:\n    image: i\n    pid: host\n",
	}, compose.Request{})
	if len(a.Problems) != 1 || !strings.Contains(a.Problems[0], "anchor") {
		t.Errorf("an anchor that comes too late: %q", a.Problems)
	}
	a = read(t, map[string]string{
		"compose.yaml":          "include: [more.yaml]\nx-base: &base\n  uts: host\nservices:\n  s: {image: i, isolation: process}\n  m:\n    <<: *base\n    image: i\n",
		"compose.override.yaml": "services:\n\n  s: {isolation: hyperv}\n",
		"more.yaml":             "services:\n  other:\n    image: i\n    pid: host\n",
	}, compose.Request{})
	want := []string{
		"compose.yaml:3: services.m.uts: not known here", "more.yaml:4: services.other.pid: not known here",
		"compose.override.yaml:3: services.s.isolation: not known here",
	}
	if !reflect.DeepEqual(a.Problems, want) {
		t.Errorf("got %q\nwant %q", a.Problems, want)
	}
}

// TestProject: order, names, what is waited for, and what only some profiles have.
func TestProject(t *testing.T) {
	files := map[string]string{"compose.yaml": `
services:
  a:
    image: i
    depends_on:
      z: {condition: service_healthy}
      gone: {condition: service_started, required: false}
    restart: on-failure:3
  m: {image: i, container_name: mine, depends_on: [a], attach: false}
  p: {image: "i:${TAG}", profiles: [extra]}
  gone: {image: i, profiles: [extra]}
  z: {image: i}
`}
	a := read(t, files, compose.Request{})
	if a.Project == nil {
		t.Fatal(a.Problems)
	}
	var names []string
	for _, s := range a.Project.Services {
		names = append(names, s.Container)
	}
	if want := []string{"box-z-1", "box-a-1", "mine"}; !reflect.DeepEqual(names, want) || a.Project.Name != "box" {
		t.Errorf("project %s: %q, want %q", a.Project.Name, names, want)
	}
	s, m := a.Project.Services[1], a.Project.Services[2]
	if !reflect.DeepEqual(s.Needs, []compose.Need{{Service: "z", Condition: compose.Healthy}}) || s.At != "compose.yaml:3" {
		t.Errorf("needs %+v at %s", s.Needs, s.At)
	}
	if !slices.Contains(s.Flags, "--restart=on-failure:3") || !m.Silent {
		t.Errorf("flags %q, silent %v", s.Flags, m.Silent)
	}
	a = read(t, files, compose.Request{Profiles: []string{"extra"}, Name: "other", Services: []string{"p"}})
	if a.Project == nil || len(a.Project.Services) != 1 || a.Project.Services[0].Container != "other-p-1" {
		t.Errorf("one service of a profile: %+v %q", a.Project, a.Problems)
	}
	if len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "TAG") {
		t.Errorf("a variable that is not set: %q", a.Notes)
	}
}

// TestVolumes: what is mounted, and what is made for it.
func TestVolumes(t *testing.T) {
	a := read(t, map[string]string{"compose.yaml": `
services:
  a:
    image: i
    volumes: [data:/d, "mine:/m:ro", {type: volume, source: data, target: /n, read_only: true, volume: {nocopy: true}}, ./here:/h,
      {type: bind, source: ./there, target: /t, bind: {create_host_path: false}}]
  b:
    image: i
    volumes_from: ["a:ro", "container:x"]
    secrets: [s, {source: s, target: t}]
    configs: [c, {source: c, target: /etc/c}]
volumes:
  data: {name: d2, labels: {k: v}}
  mine: {external: true}
  unused: {}
secrets: {s: {file: ./s.txt}}
configs: {c: {file: ./c.conf}}
`}, compose.Request{})
	got := words(t, a)
	if want := []string{"--volume=d2:/d", "--volume=mine:/m:ro", "--volume=d2:/n:ro,nocopy", "--volume=HERE/here:/h", "--volume=HERE/there:/t", "--", "i"}; !reflect.DeepEqual(got["a"], want) {
		t.Errorf("got %q\nwant %q", got["a"], want)
	}
	if want := []string{"--volumes-from=box-a-1:ro", "--volumes-from=x", "--volume=HERE/c.conf:/c:ro", "--volume=HERE/c.conf:/etc/c:ro", "--volume=HERE/s.txt:/run/secrets/s:ro", "--volume=HERE/s.txt:/run/secrets/t:ro", "--", "i"}; !reflect.DeepEqual(got["b"], want) {
		t.Errorf("got %q\nwant %q", got["b"], want)
	}
	here, _ := os.Getwd()
	if s := a.Project.Services[0]; s.Name != "a" || !reflect.DeepEqual(s.Dirs, []string{here + "/here"}) {
		t.Errorf("directories to be made: %q", s.Dirs)
	}
	want := []compose.Resource{{Name: "d2", Flags: []string{"--label=com.docker.compose.project=box", "--label=com.docker.compose.volume=data", "--label=k=v"}},
		{Name: "mine", External: true, Flags: []string{"--label=com.docker.compose.project=box", "--label=com.docker.compose.volume=mine"}}}
	if !reflect.DeepEqual(a.Project.Volumes, want) {
		t.Errorf("got %+v\nwant %+v", a.Project.Volumes, want)
	}
}

// TestNetworks: a service is in the network of the project, or in one that the file describes.
func TestNetworks(t *testing.T) {
	a := read(t, map[string]string{"compose.yaml": `
services:
  a: {image: i}
  b: {image: i, networks: {front: {aliases: [x], ipv4_address: 10.9.0.7}}}
  c: {image: i, network_mode: "service:b"}
  d: {image: i, network_mode: host}
  e: {image: i, networks: [mine, front]}
networks:
  front: {ipam: {config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.1}]}}
  mine: {name: ours, external: true}
`}, compose.Request{})
	if a.Project == nil {
		t.Fatal(a.Problems)
	}
	got := map[string]string{}
	for _, s := range a.Project.Services {
		for _, w := range s.Flags {
			if strings.HasPrefix(w, "--network") || strings.HasPrefix(w, "--ip") {
				got[s.Name] += w + " "
			}
		}
	}
	want := map[string]string{
		"a": "--network=name=box_default,alias=a ", "b": "--network=name=box_front,alias=b,alias=x,ip=10.9.0.7 ",
		"c": "--network=container:box-b-1 ", "d": "--network=host ", "e": "--network=name=box_front,alias=e --network=name=ours,alias=e ",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	var nets []string
	for _, n := range a.Project.Networks {
		nets = append(nets, strings.Join(append(n.Flags, n.Name, strconv.FormatBool(n.External)), " "))
	}
	labels := func(key string) string {
		return "--label=com.docker.compose.network=" + key + " --label=com.docker.compose.project=box "
	}
	if want := []string{labels("default") + "box_default false", "--subnet=10.9.0.0/24 --gateway=10.9.0.1 " + labels("front") + "box_front false", labels("mine") + "ours true"}; !reflect.DeepEqual(nets, want) {
		t.Errorf("got %q\nwant %q", nets, want)
	}
}

// TestBuild: what is typed to make the image.
func TestBuild(t *testing.T) {
	a := read(t, map[string]string{"compose.yaml": "services: {s: {build: {context: sub, dockerfile: My, target: t, args: {A: 1}, cache_from: [here/c, 'type=local,src=d'], cache_to: [type=inline]}}, u: {image: mine, build: .}}"}, compose.Request{})
	if a.Project == nil {
		t.Fatal(a.Problems)
	}
	here, _ := os.Getwd()
	for i, want := range [][]string{
		{"--tag=box-s", "--file=" + here + "/sub/My", "--target=t", "--build-arg=A=1", "--cache-from=here/c", "--cache-from=type=local,src=d", "--cache-to=type=inline", "--", here + "/sub"},
		{"--tag=mine", "--file=" + here + "/Dockerfile", "--", here},
	} {
		if got := a.Project.Services[i].Build; !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHostileFiles: files that are written to take all memory, or never end, are refused soon.
func TestHostileFiles(t *testing.T) {
	laughs := "x-a: &a0 [l, l, l, l, l, l, l, l, l]\n"
	for i := 1; i < 12; i++ {
		ref := "*a" + string(rune('0'+(i-1)%10))
		laughs += "x-a" + string(rune('a'+i)) + ": &a" + string(rune('0'+i%10)) + " [" + strings.Repeat(ref+", ", 8) + ref + "]\n"
	}
	for name, text := range map[string]string{
		"aliases":  laughs + "services: {s: {image: i, command: *a1}}\n",
		"a circle": "services: &s {s: {image: i, labels: *s}}\n",
		"depth":    "services: {s: {image: i, labels: " + strings.Repeat("[", 100000) + "}}",
		"needs":    "services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}",
		"extends":  "services: {a: {extends: b, image: i}, b: {extends: a, image: i}}",
		"include":  "include: [compose.yaml]\nservices: {a: {image: i}}",
		"service":  "services: {../x: {image: i}}",
		"nothing":  "",
		"a list":   "[services]",
	} {
		if a := read(t, map[string]string{"compose.yaml": text}, compose.Request{}); len(a.Problems) == 0 || a.Project != nil {
			t.Errorf("%s: %+v", name, a.Project)
		}
	}
	// A fifo is not opened: nobody may ever write to it.
	for name, text := range map[string]string{"pipe": `services: {a: {image: i, env_file: pipe}}`, ".env": `services: {a: {image: i}}`} {
		dir := t.TempDir()
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Chdir(dir)
		if a := Read(compose.Request{}); len(a.Problems) != 1 || !strings.HasSuffix(a.Problems[0], name+" is no regular file") {
			t.Errorf("%s: %q", name, a.Problems)
		}
	}
	// What looks like a flag is none where an operand is expected.
	a := read(t, map[string]string{"compose.yaml": `services: {a: {image: "--rm", command: ["--rm"]}}`}, compose.Request{})
	if got := words(t, a)["a"]; !reflect.DeepEqual(got, []string{"--", "--rm", "--rm"}) {
		t.Errorf("an image that looks like a flag: %q", got)
	}
}
