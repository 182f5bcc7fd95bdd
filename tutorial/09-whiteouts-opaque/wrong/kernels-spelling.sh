# says: a whiteout to kernel overlayfs only
tar -cf layer.tar -C upper pantry
