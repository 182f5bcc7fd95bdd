// Marks as JUnit XML, for programs that show the outcome of tests.

package gradebook

import (
	"io"
	"strings"
	"text/template"

	"tiffin/tutorial"
)

// JUnit XML has no standard; this is what Ant's <junitreport> began, as far as
// Jenkins' schema (xunit-plugin, junit-10.xsd) and https://github.com/testmoapp/junitxml
// agree. A lab of a student is a test suite and a check a test case; there are no times, so
// that the same state gives the same file.
//
// It is a template and not encoding/xml, whose tables every start of tiffin
// would fill: 25 µs.
const junitTemplate = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="tiffin labs" tests="{{.Tests}}" failures="{{.Failures}}" errors="{{.Errors}}">
{{- range .Suites}}
  <testsuite name="{{attr .Name}}" tests="{{.Tests}}" failures="{{.Failures}}" errors="{{.Errors}}" skipped="{{.Skipped}}">
    <properties>
{{- range .Properties}}
      <property name="{{index . 0}}" value="{{index . 1 | attr}}"/>
{{- end}}
    </properties>
{{- $suite := .Name}}
{{- range .Cases}}
    <testcase classname="{{attr $suite}}" name="{{attr .Name}}">
{{- if .Outcome}}
      <{{.Outcome}} message="{{attr .Message}}"{{with .Type}} type="{{.}}"{{end}}>{{html .Text}}</{{.Outcome}}>
{{- end}}
{{- if .Evidence}}
      <system-out>{{html .Evidence}}</system-out>
{{- end}}
    </testcase>
{{- end}}
  </testsuite>
{{- end}}
</testsuites>
`

type (
	junitCounts struct{ Tests, Failures, Errors, Skipped int }
	junitSuite  struct {
		junitCounts
		Name       string
		Properties [][2]string
		Cases      []junitCase
	}
	junitCase struct {
		Name                         string
		Outcome, Type, Message, Text string // Outcome is "failure", "error", "skipped" or ""
		Evidence                     string
	}
)

func writeJUnit(w io.Writer, b *Book) error {
	var all struct {
		junitCounts
		Suites []junitSuite
	}
	for i := range b.Marks.Marks {
		s := suite(&b.Marks.Marks[i])
		all.Suites = append(all.Suites, s)
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}
	tmpl, err := template.New("junit").Funcs(template.FuncMap{"attr": xmlAttribute}).Parse(junitTemplate)
	if err != nil {
		return err
	}
	return tmpl.Execute(w, all)
}

func suite(m *tutorial.Mark) junitSuite {
	s := junitSuite{Name: heading(m), Properties: [][2]string{{"state", string(m.State)}, {"points", number(m.Points)}, {"of", number(m.Of)}}}
	if r := m.Result; r != nil {
		s.Properties = append(s.Properties, [][2]string{{"title", r.Title}, {"seed", r.Seed}}...)
	}
	for _, c := range checks(m) {
		t := junitCase{Name: c.Name, Evidence: c.Evidence}
		if c.State == tutorial.Failed {
			s.Failures++
			t.Outcome, t.Type, t.Message = "failure", "not yet", c.Why
			t.Text = "expected: " + c.Expected + "\nfound: " + c.Found
		}
		s.Cases = append(s.Cases, t)
	}
	switch {
	case m.State == tutorial.Unsupported:
		s.Skipped++
		s.Cases = append(s.Cases, junitCase{Name: "it is supported", Outcome: "skipped", Message: "unsupported here: " + m.Note})
	case m.State == tutorial.Missing:
		s.Failures++
		s.Cases = append(s.Cases, junitCase{Name: "it is handed in", Outcome: "failure", Message: lack(m), Type: "missing"})
	case m.Result == nil:
		s.Errors++
		s.Cases = append(s.Cases, junitCase{Name: "it is graded", Outcome: "error", Message: lack(m), Type: "error"})
	}
	s.Tests = len(s.Cases)
	return s
}

// xmlAttribute escapes a value between quotes. Its line breaks would become
// spaces: XML 1.0, 3.3.3 "Attribute-Value Normalization".
func xmlAttribute(s string) string {
	return strings.NewReplacer("\n", "&#xA;", "\t", "&#x9;").Replace(template.HTMLEscapeString(s))
}
