# says: EPERM is for ids that exist and that you may not use
. "$LAB/solution.sh"
sed "s/^single-$NEW .*/single-$NEW EPERM/" predict >p && mv p predict
