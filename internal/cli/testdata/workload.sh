#!/bin/sh
# Heavy work of real programs, in a container of scripts/testimage's image:
#   workload.sh do      does it, and leaves its results in /w
#   workload.sh check   finds out whether they are right, also in a later container
set -eu

# 100,000 rows in a database with a write-ahead log, read and written through a mapping as well.
database() {
	python3 - "$1" <<'END'
import hashlib, os, sqlite3, sys
def row(i): return hashlib.sha256(b"%d" % i).hexdigest()
for journal, mapped in (("wal", 0), ("wal", 1 << 28), ("delete", 1 << 28)):
    name = "/w/%s-%d.db" % (journal, mapped)
    db = sqlite3.connect(name, isolation_level=None)
    db.execute("pragma mmap_size=%d" % mapped)
    if sys.argv[1] == "do":
        assert db.execute("pragma journal_mode=%s" % journal).fetchone()[0] == journal
        db.execute("create table t(id integer primary key, word text)")
        for start in range(0, 100000, 5000):
            db.execute("begin")
            db.executemany("insert into t values(?, ?)", ((i, row(i)) for i in range(start, start + 5000)))
            db.execute("commit")
        other = sqlite3.connect(name, isolation_level=None)  # a second user reads while this one writes
        db.execute("create index w on t(word)")
        db.execute("begin")
        db.execute("update t set word = word || 'x' where id % 7 = 0")
        if journal == "wal": # else the writer may have locked readers out
            assert other.execute("select count(*) from t where word like '%x'").fetchall() == [(0,)]
        db.execute("commit")
        db.execute("delete from t where id % 11 = 0")
        db.execute("vacuum")
        other.close()
    assert db.execute("pragma integrity_check").fetchone()[0] == "ok", name
    want = [(i, row(i) + "x" * (i % 7 == 0)) for i in range(100000) if i % 11]
    assert db.execute("select * from t order by id").fetchall() == want, name
    db.close()
END
}

# A repository of the files of the image, changed, packed and repacked.
repository() {
	if [ "$1" = do ]; then
		export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
		git init -q /w/repo
		cd /w/repo
		cp -a /usr/lib/python3/. /usr/include/. .
		git add -A && git commit -qm 0
		n=1
		while [ $n -le 20 ]; do
			find . -path ./.git -prune -o -type f -name "*$n*" -print | head -40 | while read -r f; do echo "$n" >>"$f"; done
			git mv "$(git ls-files | sed -n "$((n * 37))p")" "moved-$n"
			git add -A && git commit -qm $n
			n=$((n + 1))
		done
		git gc -q --aggressive --prune=now
		git worktree add -q /w/tree HEAD~10
		git clone -q --no-hardlinks /w/repo /w/clone
		git repack -qadf
	fi
	for r in /w/repo /w/clone; do
		git -C "$r" fsck --full --strict >/dev/null 2>&1
		[ -z "$(git -C "$r" status --porcelain)" ]
	done
	[ "$(git -C /w/repo rev-parse HEAD^{tree})" = "$(git -C /w/clone rev-parse HEAD^{tree})" ]
	[ -z "$(git -C /w/tree status --porcelain)" ]
}

# A hundred packages: installed, upgraded, verified, every second one removed.
packages() {
	if [ "$1" = do ]; then
		mkdir -p /w/debs
		for v in 1 2; do
			n=1
			while [ $n -le 100 ]; do
				p=/w/build/p$n
				rm -rf "$p"
				mkdir -p "$p/DEBIAN" "$p/usr/share/p$n/d$v" "$p/etc"
				printf 'Package: tiffin-p%s\nVersion: %s\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: one of a hundred\n' $n $v >"$p/DEBIAN/control"
				echo "/etc/p$n.conf" >"$p/DEBIAN/conffiles"
				echo "conf $n" >"$p/etc/p$n.conf"
				for f in a b c d e; do seq $((n * v)) $((n * v + 500)) >"$p/usr/share/p$n/d$v/$f"; done
				ln -s a "$p/usr/share/p$n/link"
				ln "$p/usr/share/p$n/d$v/b" "$p/usr/share/p$n/hard"
				dpkg-deb --root-owner-group -Znone -b "$p" "/w/debs/p$n-$v.deb" >/dev/null
				n=$((n + 1))
			done
		done
		dpkg -i /w/debs/*-1.deb >/dev/null
		dpkg -i /w/debs/*-2.deb >/dev/null
		n=2
		while [ $n -le 100 ]; do echo "tiffin-p$n"; n=$((n + 2)); done | xargs dpkg -r >/dev/null
	fi
	if dpkg --verify 'tiffin-p*' | grep .; then return 1; fi
	[ "$(dpkg -l 'tiffin-p*' | grep -c '^ii')" = 50 ]
	[ "$(find /usr/share/p[0-9]* -type f | wc -l)" = 300 ]
	[ "$(find /etc -name 'p[0-9]*.conf' | wc -l)" = 100 ] # -r keeps configuration
	dpkg --audit
}

case $1 in
do) rm -rf /w; mkdir /w ;;
esac
for work in database repository packages; do
	$work "$1" || { echo "$work is wrong"; exit 1; }
done
