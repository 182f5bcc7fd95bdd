# says: The second cat is answered by the kernel
. "$LAB/solution.sh"
tiffin run --rm --trace=out --trace-json --trace-path "/$DIR/$READ" "$P.example/wire:1" cat "/$DIR/$READ"
sed -i "s/^again .*/again $(grep -c op out)/" predict
