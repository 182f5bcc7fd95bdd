// A result as JUnit XML.

package gradebook

import (
	"bytes"
	"strings"
	"text/template"

	"tiffin/tutorial"
)

// JUnit XML has no standard; this is what Ant's <junitreport> began, as far as
// Jenkins' schema (xunit-plugin, junit-10.xsd) and https://github.com/testmoapp/junitxml
// agree. A lab is a test suite and a check a test case; there are no times, so
// that the same state gives the same file.
//
// It is a template and not encoding/xml, whose tables every start of tiffin
// would fill: 25 µs.
const junitTemplate = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="tiffin labs" tests="{{.Tests}}" failures="{{.Failures}}" errors="0">
  <testsuite name="{{attr .Lab}}" tests="{{.Tests}}" failures="{{.Failures}}" errors="0" skipped="{{.Skipped}}">
    <properties>
      <property name="title" value="{{attr .Title}}"/>
      <property name="seed" value="{{attr .Seed}}"/>
      <property name="state" value="{{.State}}"/>
      <property name="points" value="{{.Points}}"/>
      <property name="of" value="{{.Of}}"/>
    </properties>
{{- range .Checks}}
    <testcase classname="{{attr $.Lab}}" name="{{attr .Name}}">
{{- if eq .State "failed"}}
      <failure type="not yet" message="{{attr .Why}}">expected: {{html .Expected}}
found: {{html .Found}}</failure>
{{- end}}
{{- if .Evidence}}
      <system-out>{{html .Evidence}}</system-out>
{{- end}}
    </testcase>
{{- end}}
{{- if .Skipped}}
    <testcase classname="{{attr .Lab}}" name="{{attr .Title}}">
      <skipped message="unsupported here: {{attr .Why}}"/>
    </testcase>
{{- end}}
  </testsuite>
</testsuites>
`

func junit(r *tutorial.Result) ([]byte, error) {
	data := struct {
		*tutorial.Result
		Tests, Failures, Skipped int
	}{Result: r, Tests: len(r.Checks)}
	for _, c := range r.Checks {
		if c.State == tutorial.Failed {
			data.Failures++
		}
	}
	if r.State == tutorial.Unsupported {
		data.Tests, data.Skipped = 1, 1
	}
	tmpl, err := template.New("junit").Funcs(template.FuncMap{"attr": xmlAttribute}).Parse(junitTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = tmpl.Execute(&b, data)
	return b.Bytes(), err
}

// xmlAttribute escapes a value between quotes. Its line breaks would become
// spaces: XML 1.0, 3.3.3 "Attribute-Value Normalization".
func xmlAttribute(s string) string {
	return strings.NewReplacer("\n", "&#xA;", "\t", "&#x9;").Replace(template.HTMLEscapeString(s))
}
