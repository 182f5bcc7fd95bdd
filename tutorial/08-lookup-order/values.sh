# Which of four dishes is in which layers: A in several, B in one, C in the top one too, D in none.
# E is for the examples.
DISHES=$(pick dishes 'soup rice fish cake' 'rice cake soup fish' 'fish soup cake rice' 'cake fish rice soup')
A=$(echo "$DISHES" | cut -d' ' -f1)
B=$(echo "$DISHES" | cut -d' ' -f2)
C=$(echo "$DISHES" | cut -d' ' -f3)
D=$(echo "$DISHES" | cut -d' ' -f4)
E=tea
IN_A=$(pick a '1 3' '2 3' '1 2 3')
IN_B=$(pick b 1 2)
IN_C=$(pick c '1 4' '2 4' '1 3 4')
IN_E='1 2'
SPICE=$(pick spice salt pepper curry thyme saffron)
