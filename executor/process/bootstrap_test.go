package process_test

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/executor/process"
)

func TestPythonFailuresAreToldAsAWSDoes(t *testing.T) {
	t.Parallel()
	f := open(t, config(t, "python3"), deps(t, nil))
	for command, want := range map[string]string{
		`{"do":"fail","message":"naïve"}`: `^{"errorMessage": "naïve", "errorType": "Custom", "requestId": "ID", "stackTrace": \["  File \\"[^"]*/app.py\\", line \d+, in handler\\n    deeper\(event\[\\"message\\"\]\)\\n", "  File \\"[^"]*/app.py\\", line \d+, in deeper\\n    raise Custom\(message\)\\n"\]}$`,
		`{"do":"nan"}`:                    `^{"errorMessage": "Unable to marshal response: Out of range float values are not JSON compliant[^"]*", "errorType": "Runtime.MarshalError", "requestId": "ID", "stackTrace": \[\]}$`,
		`{"do":"unmarshalable"}`:          `^{"errorMessage": "Unable to marshal response: Object of type set is not JSON serializable", "errorType": "Runtime.MarshalError", "requestId": "ID", "stackTrace": \[\]}$`,
		`{"do":"exit"}`:                   `^{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ID Error: Runtime exited with error: exit status 7"}$`,
		`not JSON`:                        `"errorType": "Runtime.UnmarshalError"`,
	} {
		failsWith(t, f, command, want)
	}
}

// failsWith checks the document of a failure against a pattern, in which ID stands for the id of the request.
func failsWith(t *testing.T, f executor.Function, command, pattern string) {
	t.Helper()
	id := uuid.NewString()
	a := receive(t, command, run(t, f, executor.Request{ID: id, Payload: []byte(command)}))
	if a.err != nil || a.res.Failure == nil || !regexp.MustCompile(strings.ReplaceAll(pattern, "ID", id)).Match(a.res.Payload) {
		t.Errorf("%s: %v, failure %+v, document\n%s\nwant\n%s", command, a.err, a.res.Failure, a.res.Payload, pattern)
	}
}

func TestPythonAnswersAndContext(t *testing.T) {
	t.Parallel()
	c := config(t, "python3")
	c.Memory *= 2
	f := open(t, c, deps(t, nil))
	if res := do(t, f, `{"do":"nothing"}`); string(res.Payload) != "null" {
		t.Errorf("nothing answers %s", res.Payload)
	}
	if res := do(t, f, `{"a":"é","b":[1]}`); string(res.Payload) != `{"a": "é", "b": [1]}` {
		t.Errorf("echo answers %s", res.Payload)
	}
	var all map[string]string
	if res := do(t, f, `{"do":"all"}`); json.Unmarshal(res.Payload, &all) != nil && all["identity"] != "" {
		t.Errorf("context is %s", res.Payload)
	}
	if all["name"] != "orders" || all["version"] != "$LATEST" || all["memory"] != "256" || all["group"] != "/aws/lambda/orders" || all["cwd"] != c.Code || !strings.HasPrefix(all["runtime"], "AWS_Lambda_python3.") {
		t.Errorf("context is %v", all)
	}
	if res := do(t, f, `{"do":"remaining"}`); len(res.Payload) != 4 || res.Payload[0] > '3' {
		t.Errorf("remaining time is %s ms of 3 s", res.Payload)
	}
	if res := do(t, f, `{"do":"warn"}`); !regexp.MustCompile(`(?m)^\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t[0-9a-f-]{36}\tlook out, naïve$`).Match(res.Log) || strings.Contains(string(res.Log), "unseen") {
		t.Errorf("log is %s", res.Log)
	}
}

func TestHandlersThatCanNotBeLoaded(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"bad.py": "def f(:\n", "needs.py": "import nothing_of_the_kind\n", "raises.py": "raise ValueError('at start')\n",
		"ok.py": "x = 1\ndef f(e, c): return 1\n", "pkg/inner.py": "def f(e, c): return 'inner'\n", "exits.py": "import os\nos._exit(4)\n",
		"bad.js": "exports.f = (;\n", "needs.js": "require('nothing-of-the-kind');\n", "raises.js": "throw new RangeError('at start');\n",
		"ok.js": "exports.x = 1; exports.f = (e, c, done) => done(null, 1); exports.deep = { f: async () => 'deep' };\n", "pkg/inner.mjs": "export const f = async () => 'inner';\n",
		"exits.js": "process.exit(4);\n", "plain.js": "exports.f = () => 7;\n", "late.js": "exports.f = (e, c, done) => { setTimeout(() => done(null, 'late'), 50); };\n",
		"sync.js": "exports.f = () => { throw new Error('sync') };\n", "failed.js": "exports.f = (e, c, done) => done(new TypeError('called back'));\n",
		"esm/package.json": `{"type":"module"}`, "esm/index.js": "export const f = async () => 'esm';\n",
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ kind, handler, kindOf, text string }{
		{"python3", "bad.f", "Runtime.UserCodeSyntaxError", "Syntax error in module 'bad': invalid syntax"},
		{"python3", "needs.f", "Runtime.ImportModuleError", "Unable to import module 'needs': No module named 'nothing_of_the_kind'"},
		{"python3", "absent.f", "Runtime.ImportModuleError", "Unable to import module 'absent': No module named 'absent'"},
		{"python3", "raises.f", "ValueError", "at start"},
		{"python3", "ok.g", "Runtime.HandlerNotFound", "Handler 'g' missing on module 'ok'"},
		{"python3", "ok.x", "Runtime.HandlerNotFound", "is not callable"},
		{"python3", "exits.f", "Runtime.ExitError", "exit status 4"},
		{"python3", "pkg/inner.f", "", `"inner"`},
		{"python3", "pkg.inner.f", "", `"inner"`},
		{"nodejs", "bad.f", "Runtime.UserCodeSyntaxError", "SyntaxError: "},
		{"nodejs", "needs.f", "Runtime.ImportModuleError", "Error: Cannot find module 'nothing-of-the-kind'"},
		{"nodejs", "absent.f", "Runtime.ImportModuleError", "Error: Cannot find module 'absent'"},
		{"nodejs", "raises.f", "RangeError", "at start"},
		{"nodejs", "ok.g", "Runtime.HandlerNotFound", "ok.g is undefined or not exported"},
		{"nodejs", "ok.x", "Runtime.HandlerNotFound", "ok.x is not a function"},
		{"nodejs", "exits.f", "Runtime.ExitError", "exit status 4"},
		{"nodejs", "ok.f", "", "1"},
		{"nodejs", "ok.deep.f", "", `"deep"`},
		{"nodejs", "pkg/inner.f", "", `"inner"`},
		{"nodejs", "esm/index.f", "", `"esm"`},
		{"nodejs", "late.f", "", `"late"`},
		{"nodejs", "plain.f", "", "null"},
		{"nodejs", "sync.f", "Error", "sync"},
		{"nodejs", "failed.f", "TypeError", "called back"},
	} {
		t.Run(c.kind+" "+strings.ReplaceAll(c.handler, "/", " "), func(t *testing.T) {
			t.Parallel()
			conf := config(t, c.kind)
			conf.Code, conf.Handler = dir, c.handler
			res := do(t, open(t, conf, deps(t, nil)), `{}`)
			if c.kindOf == "" {
				if res.Failure != nil || string(res.Payload) != c.text {
					t.Errorf("answer %s, failure %+v", res.Payload, res.Failure)
				}
				return
			}
			if res.Failure == nil || res.Failure.Type != c.kindOf || !strings.Contains(res.Failure.Message, c.text) {
				t.Errorf("failure %+v, want %s: %s\n%s", res.Failure, c.kindOf, c.text, res.Log)
			}
		})
	}
}

func TestNodeFailuresAreToldAsAWSDoes(t *testing.T) {
	t.Parallel()
	f := open(t, config(t, "nodejs"), deps(t, nil))
	for command, want := range map[string]string{
		`{"do":"fail","message":"naïve"}`:  `^{"errorType":"RangeError","errorMessage":"naïve","trace":\["RangeError: naïve","    at (Runtime\.)?handler \(file://[^"]*/index.mjs:\d+:\d+\)"`,
		`{"do":"throw","message":"a"}`:     `^{"errorType":"string","errorMessage":"a","trace":\[\]}$`,
		`{"do":"loop"}`:                    `^{"errorType":"Runtime.MarshalError","errorMessage":"Unable to stringify response body: Converting circular structure`,
		`{"do":"reject","message":"lost"}`: `^{"errorType":"Runtime.UnhandledPromiseRejection","errorMessage":"Error: lost","trace":\["Error: lost"`,
		`not JSON`:                         `"errorType":"Runtime.UnmarshalError"`,
	} {
		failsWith(t, f, command, want)
	}
	for _, command := range []string{`{"do":"nothing"}`, `{"do":"never"}`} {
		if res := do(t, f, command); string(res.Payload) != "null" || res.Failure != nil {
			t.Errorf("%s answers %s, failure %+v", command, res.Payload, res.Failure)
		}
	}
	res := do(t, f, `{"do":"log","lines":["hello"]}`)
	if !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t[0-9a-f-]{36}\tINFO\thello$`).Match(res.Log) {
		t.Errorf("log is %s", res.Log)
	}
}

func TestNodeStreams(t *testing.T) {
	t.Parallel()
	c := config(t, "nodejs")
	c.Handler = "index.streaming"
	f := open(t, c, deps(t, nil))
	for _, s := range []struct{ command, types, body, failure string }{
		{`{"chunks":["a","b","ü"]}`, "text/plain", "abü", ""},
		{`{"do":"http"}`, "application/vnd.awslambda.http-integration-response", `{"statusCode":201,"headers":{"x-a":"b"}}` + strings.Repeat("\x00", 8) + "hello", ""},
		{`{"chunks":["a"],"message":"broken off"}`, "text/plain", "a", "Error"},
		{`{"do":"fail","message":"early"}`, "", "", "RangeError"},
	} {
		for range 2 { // the environment goes on after each
			var got lines
			types := ""
			a := receive(t, s.command, run(t, f, executor.Request{Payload: []byte(s.command), Stream: func(typ string) io.Writer {
				types = typ
				return &got
			}}))
			failure := ""
			if a.res.Failure != nil {
				failure = a.res.Failure.Type
			}
			if a.err != nil || got.String() != s.body || types != s.types || failure != s.failure {
				t.Errorf("%s: %q of type %q, failure %+v, %v", s.command, got.String(), types, a.res.Failure, a.err)
			}
		}
	}
}

func TestBootstrapsLogJSON(t *testing.T) {
	t.Parallel()
	for kind, command := range map[string]string{"python3": `{"do":"warn"}`, "nodejs": `{"do":"log","lines":["look out, naïve"]}`} {
		c := config(t, kind)
		c.LogFormat = "json"
		res := do(t, open(t, c, deps(t, nil)), command)
		found := false
		for line := range strings.Lines(string(res.Log)) {
			var l struct{ Timestamp, Level, Message, RequestID string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Errorf("%s: line %q: %v", kind, line, err)
			}
			found = found || l.Message == "look out, naïve" && l.Level != "" && l.Timestamp != "" && len(l.RequestID) == 36
		}
		if !found {
			t.Errorf("%s: log is %s", kind, res.Log)
		}
	}
}

func TestSettingsAreThoseOfTheConfiguration(t *testing.T) {
	t.Parallel()
	c := process.Defaults("python3")
	if s := c.Settings(); s.Timeout != c.Timeout || s.Reserved != executor.Unreserved {
		t.Errorf("settings are %+v", s)
	}
}
