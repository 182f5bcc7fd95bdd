# says: That is for amd64. Each entry of the index has a platform
curl -fsS "$(cat address)/v2/$P.example/lunch/manifests/$TAG" | grep -o 'sha256:[0-9a-f]*' | head -n 1 >manifest
