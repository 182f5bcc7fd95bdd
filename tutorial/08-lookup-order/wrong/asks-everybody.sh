# says: You let the search go on after the first #
all() {
	r=.
	for n in 4 3 2 1 0; do case " $1 " in *" $n "*) r=$r# ;; *) r=$r. ;; esac; done
	echo "$r"
}
{
	echo "$A $(all "$IN_A")"
	echo "$B $(all "$IN_B")"
	echo "$C $(all "$IN_C")"
	echo "$D ......"
} >predict
tiffin run --name "$P-mine" "$P.example/meal" sh -c "echo $SPICE >/menu/$B"
