# solve LAYERS: a dot for the upper and each layer without the name, # for the first with it, then -.
solve() {
	r=. hit=
	for n in 4 3 2 1 0; do
		if [ -n "$hit" ]; then
			r=$r-
		else
			case " $1 " in *" $n "*) r=$r# hit=1 ;; *) r=$r. ;; esac
		fi
	done
	echo "$r"
}
{
	echo "$A $(solve "$IN_A")"
	echo "$B $(solve "$IN_B")"
	echo "$C $(solve "$IN_C")"
	echo "$D $(solve '')"
} >predict
tiffin run --name "$P-mine" "$P.example/meal" sh -c "echo $SPICE >/menu/$B"
