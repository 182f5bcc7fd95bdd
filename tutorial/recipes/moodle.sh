#!/bin/sh
# moodle.sh CLASS DIR: grades what students of the class handed in, and writes moodle.csv. In Moodle:
# Grades, Import, CSV file; then "Map from" ID number, "Map to" useridnumber or username, whichever
# the ids of your roster are, and each lab's two columns to a grade item and to its feedback.
tiffin lab grade --class "$1" --format moodle "$2" >moodle.csv
