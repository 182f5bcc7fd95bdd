// Package tutorial is the labs: small tasks on the parts of a container, each
// with a text to read, commands to type, and a check of what they have changed.
//
// # What a student sees
//
//	tiffin lab start 3     makes ~/tiffin-labs/03-user-namespace, the work directory
//	tiffin lab show        prints the text, which ends with the task
//	tiffin lab check       looks at the state, says what holds and what does not yet
//	tiffin lab hint        prints the next of three hints
//	tiffin lab reset       makes the start state again
//	tiffin lab next        starts the next lab that is not passed
//
// Beside the work directories are two files of plain text: seed, and
// progress.txt (see Progress). Nothing is watched and nothing runs between two
// commands, so a home directory on NFS is as good as any, and nothing ever
// needs a network.
//
// # A lab is a directory
//
// No Go is needed to make one. tutorial/NN-name/ is embedded in the binary;
// an instructor's own directories are used with --dir or $TIFFIN_LAB_DIR.
//
//	lab.txt       the header `title:`, `concept:` (one sentence), `minutes:`, `needs:`,
//	              a blank line, and the lesson for a terminal of 80 columns
//	values.sh     sets variables from the seed; optional
//	setup.sh      makes the start state
//	check.sh      looks at the state and reports
//	solution.sh   the reference solution
//	wrong/*.sh    at least three plausible wrong answers
//	hints.txt     three hints, lines `---` between them, each saying more
//	claims.txt    for each claim of the lesson what proves it: `claim | evidence`
//	cleanup.sh    what reset must undo beyond the obvious; optional
//
// Begin with `tiffin lab new 50-name`: it writes a lab that works, with comments
// for authors. The steps from there are: say in one sentence what is to be
// learnt; choose a state that only somebody who has understood it will reach;
// write down the wrong answers that people give, each as a script, and what
// each of them has misunderstood; write the check that tells them apart; and
// then the text. `tiffin lab test 50-name` tells whether the lab judges well.
// Numbers from 50 are free of those that come with tiffin.
//
// In the lesson a line `    $ command` is typed by the student and run by lab
// test; lines indented like it without `$` are what it prints, and not looked
// at. A backslash at its end continues a command in the next line. {{KEY}} is
// the student's value of the variable KEY. The section `Your task` says which
// state is to be reached.
//
// # Scripts
//
// They are for the host's `sh -eu`, with nothing but coreutils, grep, sed, tar
// and tiffin, which is this very binary and first in $PATH. lib.sh is read
// first, then values.sh, then the script, in the work directory:
//
//	$LAB   the lab's own files, only to be read
//	$WORK  the work directory
//	$SEED  the student's seed
//	$P     lab03: containers are named $P-something and images $P/something, so
//	       that reset finds them
//
// A script that ends with a status other than 0, that runs longer than
// Runner.Limit or prints without end is an error of the lab: it is broken, and
// no student has failed. All that a script starts carries a variable in its
// environment, by which it is found again (proc_pid_environ(5)): what check.sh
// has started ends with it, what setup.sh has started ends with reset.
//
// `unsupported WHY`, and a word of `needs:` that probe finds missing, mean that
// the machine cannot do the lab. That is never a failure: the exit status is 2.
//
// # How a check is judged
//
// check.sh calls pass, fail or same (see lib.sh) once for each thing that must
// hold. Each call writes a record to descriptor 3,
//
//	STATE US NAME US POINTS US EXPECTED US FOUND US WHY US EVIDENCE RS
//
// with US = 0x1f and RS = 0x1e, and becomes a Check, the one record of which
// everything is made that tiffin says about the run. The lab is passed if all
// checks are. Every run reports the same names with the same points, so that a
// table of a class has the same columns for all.
//
// What is looked at is state: processes in /proc, tarballs, digests, never what
// was typed. Expected answers are worked out by the check, from the seed or the
// machine, and stored nowhere; names and numbers differ between students.
// EXPECTED tells what form the answer has, not the answer. WHY names the
// misconception that FOUND suggests.
//
// The check runs as the student, with the student's files: who wants to
// deceive it can. Where marks depend on it, run it on a machine of the
// course's, on the files that were handed in, with the seed file among them.
//
// # How a lab is tested
//
// Runner.Test, in a store and a directory of its own, for each lab in this
// package and in `lab test`:
//
//	untouched start            must not pass
//	solution.sh                must pass
//	each of wrong/*.sh         must not pass, and a failed check's WHY must contain the
//	                           text of its first line, `# says: TEXT`; all differ
//	each `$` command           must succeed, in order, in one shell; together they
//	                           must not solve the task
//	each run of check.sh       must report the same names and points, and a WHY if it fails
//	claims.txt                 evidence is a test of tiffin, `TestName (package directory)`;
//	                           a check of the lab, `check NAME`; or a citation,
//	                           `page(section), "Section"` or `OCI image-spec v1.1 layer.md, "Whiteouts"`
//	afterwards                 reset must leave no container, image or process
//
// # Formats
//
// A result is written for other programs as
//
//	json         Result, as it is here
//	junit        JUnit XML: see junitTemplate for which
//	tap          https://testanything.org/tap-version-14-specification.html
//	gradescope   results.json of https://gradescope-autograders.readthedocs.io/en/latest/specs/
//
// The files in testdata/golden show each. A further one is a function in the
// table formats. None has a time in it: the same state gives the same bytes.
package tutorial
