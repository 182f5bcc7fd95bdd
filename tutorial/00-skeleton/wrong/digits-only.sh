# says: sha256: is part of it
# A wrong answer that somebody may give, to see that it fails, and that the
# check explains this mistake and not another. The line above is a part of the
# message; at least three are needed, all different.
sha256sum <box-2 | cut -d ' ' -f 1 >answer
