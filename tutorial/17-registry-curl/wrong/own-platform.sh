# says: take the entry for the machine that they are on
. "$LAB/solution.sh"
r=$registry/v2/$P.example/lunch
d=$(curl -fsS "$r/manifests/$TAG" | tiffin lab json '{{(index .manifests 0).digest}}')
l=$(curl -fsS "$r/manifests/$d" | tiffin lab json '{{(index .layers 0).digest}}')
curl -fsS "$r/blobs/$l" | tar -xOf - "srv/$SPICE" >recipe
