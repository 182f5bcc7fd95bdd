# An image of tiffin/base (layer 0) and four tarballs, each with a /menu of its own.
write() { # write DISH LAYER…: the dish as each of these layers has it
	dish=$1
	shift
	for n; do echo "$dish of layer $n" >"layer$n/menu/$dish"; done
}
rm -rf layer?
mkdir -p layer1/menu layer2/menu layer3/menu layer4/menu
# shellcheck disable=SC2086 # lists of layers
{
	write "$A" $IN_A
	write "$B" $IN_B
	write "$C" $IN_C
	write "$E" $IN_E
}
echo open >layer3/menu/hours
echo today >layer4/menu/date

for n in 1 2 3 4; do
	tar --owner=0 --group=0 -cf "layer$n.tar" -C "layer$n" menu
	rm -r "layer$n"
done
stack "$P.example/meal:latest" tiffin/base layer1.tar layer2.tar layer3.tar layer4.tar
printf '%s ??????\n' cake fish rice soup >predict
