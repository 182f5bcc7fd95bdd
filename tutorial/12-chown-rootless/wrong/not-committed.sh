# says: There is no image lab12.example/fixed with this file
. "$LAB/solution.sh"
tiffin rmi "$P.example/fixed"
