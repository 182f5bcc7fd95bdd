# says: The registry believes it, and so does every client
sed 's/ARCHITECTURE-1/ARCHITECTURE-0/; s/ARCHITECTURE-2/ARCHITECTURE-1/; s/ARCHITECTURE-0/ARCHITECTURE-2/' index.form >form
sed 's/ index.form / form /' "$LAB/solution.sh" >s.sh
. ./s.sh
