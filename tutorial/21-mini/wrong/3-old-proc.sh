# says: A /proc shows the pid namespace of the process that has mounted it
printf '#!/bin/sh\nshift 2\nexec unshare -Urmpf "$@"\n' >mini
chmod 755 mini
