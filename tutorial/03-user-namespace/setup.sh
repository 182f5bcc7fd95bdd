# There is nothing to make: the student starts from an empty directory.
:
