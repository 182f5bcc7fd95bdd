# says: That is the index: the list.
curl -fsS -I "$(cat address)/v2/$P.example/lunch/manifests/$TAG" | tr -d '\r' | sed -n 's/^Docker-Content-Digest: //p' >manifest
