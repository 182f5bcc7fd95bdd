rm -f pid
