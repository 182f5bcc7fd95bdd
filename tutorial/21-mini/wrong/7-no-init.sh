# says: Process 1 of a pid namespace inherits every orphan
printf '#!/bin/sh\nshift 2\nexec unshare -Urmpf --mount-proc "$@"\n' >mini
chmod 755 mini
