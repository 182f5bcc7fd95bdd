# The start state, in the current directory, which is $WORK. It runs again
# after `tiffin lab reset`, so it must work a second time.
echo "$DISH, $WEIGHT grams" >box-1
echo "two times $DISH, $((2 * WEIGHT)) grams" >box-2
