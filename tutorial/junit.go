package tutorial

import (
	"encoding/xml"
	"strconv"
)

// JUnit XML has no standard; this is what Ant's <junitreport> began, as far as
// Jenkins' schema (xunit-plugin, junit-10.xsd) and https://github.com/testmoapp/junitxml
// agree. A lab is a test suite and a check a test case; there are no times, so
// that the same state gives the same file.
type (
	junitSuites struct {
		XMLName  xml.Name   `xml:"testsuites"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Suite    junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure"`
		Skipped *junitSkipped `xml:"skipped"`
		Out     string        `xml:"system-out,omitempty"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

func (r *Result) junit() ([]byte, error) {
	s := junitSuite{Name: r.Lab, Tests: len(r.Checks), Properties: []junitProperty{
		{"title", r.Title}, {"seed", r.Seed}, {"state", string(r.State)},
		{"points", strconv.Itoa(r.Points)}, {"of", strconv.Itoa(r.Of)},
	}}
	for _, c := range r.Checks {
		k := junitCase{Class: r.Lab, Name: c.Name, Out: c.Evidence}
		if c.State == Failed {
			s.Failures++
			k.Failure = &junitFailure{"not yet", c.Why, "expected: " + c.Expected + "\nfound: " + c.Found + "\n"}
		}
		s.Cases = append(s.Cases, k)
	}
	if r.State == Unsupported {
		s.Tests, s.Skipped = 1, 1
		s.Cases = []junitCase{{Class: r.Lab, Name: r.Title, Skipped: &junitSkipped{"unsupported here: " + r.Why}}}
	}
	b, err := xml.MarshalIndent(junitSuites{Name: "tiffin labs", Tests: s.Tests, Failures: s.Failures, Suite: s}, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}
