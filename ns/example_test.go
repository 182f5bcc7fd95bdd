package ns_test

import (
	"fmt"
	"slices"

	"tiffin/ns"
)

// The table says which steps of a start use a system call, and where each is described.
func ExampleSteps() {
	for _, step := range ns.Steps() {
		if slices.Contains(step.Calls, "pivot_root(2)") {
			fmt.Println(step.Name, "in", step.Where)
			fmt.Println(step.Calls)
			fmt.Println(step.Man)
		}
	}
	// Output:
	// pivot in init
	// [fchdir(2) pivot_root(2) umount2(2) chdir(2)]
	// pivot_root(2), NOTES, pivot_root(".", ".")
}
