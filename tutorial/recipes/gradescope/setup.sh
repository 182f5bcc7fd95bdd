#!/bin/bash
# Gradescope runs this once, as root, while it builds the autograder's image. The zip file that is
# uploaded has setup.sh, run_autograder and tiffin in it, and labs/ if they are your own.
set -e
install -m 755 "${AUTOGRADER:-/autograder}/source/tiffin" "${PREFIX:-/usr/local}/bin/tiffin"
