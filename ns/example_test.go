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
			fmt.Println(step.Why)
			fmt.Println(step.Man)
		}
	}
	// Output:
	// pivot in init
	// the new root becomes /, and the old one is unmounted: there is no way back, unlike after chroot(2)
	// pivot_root(2), NOTES, pivot_root(".", ".")
}
