package control

import (
	"errors"
	"testing"
)

// TestASupervisorThatHasHungUpIsGone whether it has done so before or after the question.
func TestASupervisorThatHasHungUpIsGone(t *testing.T) {
	mine, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	theirs.Close()
	if _, err := mine.Call(&Message{Op: OpWait}); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want %v", err, ErrGone)
	}
}
