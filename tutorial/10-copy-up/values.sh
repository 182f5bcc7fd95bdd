# Four files of different sizes in bytes, and a word to add.
SHELF=$(pick shelf larder cellar pantry)
FILES=$(pick files 'flour oats corn wheat' 'corn wheat flour oats' 'oats flour wheat corn')
A=$(echo "$FILES" | cut -d' ' -f1)
B=$(echo "$FILES" | cut -d' ' -f2)
C=$(echo "$FILES" | cut -d' ' -f3)
D=$(echo "$FILES" | cut -d' ' -f4)
SIZE_A=$(number a 200000 290000)
SIZE_B=$(number b 300000 390000)
SIZE_C=$(number c 400000 490000)
SIZE_D=$(number d 500000 590000)
MODE=$(pick mode 600 640 400 604)
WORD=$(pick word sugar lemon cocoa anise)
LETTERS=${#WORD}
