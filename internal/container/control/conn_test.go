package control

import (
	"errors"
	"testing"

	"tiffin/internal/wire"
)

// TestASupervisorThatHasHungUpIsGone whether it has done so before or after the question.
func TestASupervisorThatHasHungUpIsGone(t *testing.T) {
	conn, theirs, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	mine := &Conn{conn}
	defer mine.Close()
	theirs.Close()
	if _, err := mine.Call(&Message{Op: OpWait}); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want %v", err, ErrGone)
	}
}
