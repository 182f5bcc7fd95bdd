# says: A process that a signal ends has no exit status
printf '#!/bin/sh\nshift 2\n"$@" && exit\ns=$?\n[ $s -lt 128 ] || s=1\nexit $s\n' >mini
chmod 755 mini
