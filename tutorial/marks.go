// The marks of a class: what each student has for each lab, and how that came about. It is the one
// record that every report on a class is made of.

package tutorial

import "time"

// Two further states of a lab, of a student of whom there is no result.
const (
	Missing State = "missing" // nothing was handed in
	Lost    State = "error"   // it could not be graded, which is no fault of the student's
)

// Marks are those of a class: of each student, in the order of the roster, each lab, in the order
// of the class.
type Marks struct {
	Class  string     `json:"class"`
	Labs   []ClassLab `json:"labs"`
	Marks  []Mark     `json:"marks"`
	Strays []Stray    `json:"strays"` // what gave nobody points
}

// Mark is what a student has for a lab. Texts in it are printable, but a stranger's: an id that
// begins with "=" is a formula to a spreadsheet.
type Mark struct {
	ID    string `json:"id"` // the student's, as in the roster
	Name  string `json:"name"`
	Email string `json:"email"`
	Lab   string `json:"lab"` // "03-user-namespace"

	State    State     `json:"state"`
	Points   float64   `json:"points"` // with all that is taken off, to a hundredth
	Of       float64   `json:"of"`
	Hints    int       `json:"hints"`            // read, as the student's own record says
	Attempts int       `json:"attempts"`         // checks until it passed, as that record says
	Late     int       `json:"late"`             // days after the deadline, begun ones too
	Seconds  int       `json:"seconds"`          // from the start to passing, as that record says; 0: unknown
	Handed   time.Time `json:"handed,omitzero"`  // when it was packed
	File     string    `json:"file,omitempty"`   // which submission counts
	Note     string    `json:"note,omitempty"`   // what was taken off and why, or why there is no result
	Result   *Result   `json:"result,omitempty"` // of the replay
}

// Stray is a file, or a part of one, that does not count.
type Stray struct {
	File string `json:"file"`
	Why  string `json:"why"`
}
