# says: there is no image lab12/fixed with this file
. "$LAB/solution.sh"
tiffin rmi "$P/fixed"
