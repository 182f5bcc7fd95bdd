ROOM=$P-room
A=$(pick pot pot pan kettle wok)
B=$(pick plate plate bowl dish cup)
C=$(pick shelf shelf drawer box jar)
NEW=$(pick new rice lentils beans noodles)
OWN=$(pick own salt pepper chutney lemon)
