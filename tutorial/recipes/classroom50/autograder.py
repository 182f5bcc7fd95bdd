#!/usr/bin/env python3
"""CLASSROOM/autograder.py of the repository classroom50 of an organization.

Classroom 50 runs it in the student's repository, where submission.json of `tiffin lab submit` is,
and reads result.json. Where the labs cannot be judged there is none, and the status is not 0: then
the runner says that it was the infrastructure. tiffin is to be on the PATH: `runtime` in
assignments.json says how it gets there.
"""
import pathlib
import subprocess
import sys

out = subprocess.run(
    ["tiffin", "lab", "grade", "--format", "classroom50", "submission.json"], stdout=subprocess.PIPE
).stdout
if not out:
    sys.exit("this could not be graded, and nobody has 0 points for it")
pathlib.Path("result.json").write_bytes(out)
