# says: You began at the bottom
below() { case ${1%% *} in 1) echo ----#. ;; 2) echo ---#.. ;; esac; }
{
	echo "$A $(below "$IN_A")"
	echo "$B $(below "$IN_B")"
	echo "$C $(below "$IN_C")"
	echo "$D ......"
} >predict
tiffin run --name "$P-mine" "$P.example/meal" sh -c "echo $SPICE >/menu/$B"
