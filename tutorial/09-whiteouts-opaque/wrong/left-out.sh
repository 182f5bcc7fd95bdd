# says: That a layer does not have a name says nothing about it
rm "upper/pantry/$GONE"
tar -cf layer.tar -C upper pantry
