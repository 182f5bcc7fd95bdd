# says: The status of a program is the one that it ends with itself
printf '#!/bin/sh\nshift 2\n"$@" || true\nexit 0\n' >mini
chmod 755 mini
