package main

import (
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/stack"
	"github.com/millrace/millrace/test/emulators"
	"github.com/millrace/millrace/test/hub"
	"github.com/millrace/millrace/test/services"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// passed fails the test for each case that is not passed.
func passed(t *testing.T, results map[string]Result) {
	t.Helper()
	if got, want := len(results), len(Cases()); got != want {
		t.Errorf("%d of %d cases have run", got, want)
	}
	for _, f := range failures(results) {
		t.Error(f)
	}
}

func TestStackPassesEveryCase(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]stack.Options{
		"in memory": {},
		"durable":   {Dir: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := stack.Start(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			passed(t, Run(t.Context(), Cases(), Stack, s.URL()))
		})
	}
}

// The built program, which checks signatures.
func TestBinaryPassesEveryCase(t *testing.T) {
	t.Parallel()
	binary := os.Getenv("MILLRACE_BINARY")
	if binary == "" {
		var err error
		if binary, err = hub.Build(t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	port := emulators.FreePort()
	cmd := exec.Command(binary, "stack", "--listen", "127.0.0.1:"+strconv.Itoa(port), "--key", "AKIDEXAMPLE=secretsecret")
	endpoint, stop, err := emulators.Run(t.Context(), "millrace stack", cmd, port)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	signed := Stack
	signed.Credentials = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secretsecret"}
	passed(t, Run(t.Context(), Cases(), signed, endpoint))

	signed.Credentials.SecretAccessKey = "another"
	for id, r := range Run(t.Context(), Cases(), signed, endpoint) {
		if r.Verdict == Pass {
			t.Errorf("%s passes with a wrong key", id)
		}
	}
}

// What the others do is documented, not demanded: they must start, and pass something, so that the page can be
// written.
func TestTheOthersRun(t *testing.T) {
	t.Parallel()
	results, failed := runAll(t.Context(), emulators.Others, "../..", t.TempDir)
	for _, other := range emulators.Others {
		t.Run(other.Name, func(t *testing.T) {
			if err := failed[other.Name]; errors.Is(err, emulators.ErrMissing) {
				services.Missing(t, err.Error())
			} else if err != nil {
				t.Fatal(err)
			}
			r := results[other.Name]
			n := count(r, Pass)
			if n == 0 {
				t.Error("not one case is passed")
			}
			t.Logf("%d pass, %d do not, %d are not supported", n, count(r, Wrong), count(r, Unsupported))
		})
	}
}

func TestCasesAreWellFormed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.ID] {
			t.Errorf("two cases are called %s", c.ID)
		}
		seen[c.ID] = true
		if !strings.HasPrefix(c.ID, c.Service+"-") {
			t.Errorf("%s does not begin with %s", c.ID, c.Service)
		}
		u, err := url.Parse(c.URL)
		if err != nil || u.Host != "docs.aws.amazon.com" || c.Says == "" {
			t.Errorf("%s has no judge: %q at %s", c.ID, c.Says, c.URL)
		}
	}
	if len(seen) < 200 {
		t.Errorf("there are %d cases only", len(seen))
	}
}

// The page that is checked in must be of these cases, and of a stack that passes them.
func TestThePageIsOfTheseCases(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.FromSlash("../../docs/reference/emulators.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Cases() {
		if !strings.Contains(string(data), c.ID) || !strings.Contains(string(data), c.URL) {
			t.Errorf("the page does not have %s: go run ./test/compat writes it", c.ID)
		}
	}
	if strings.Contains(string(data), "**"+Stack.Name+"**") {
		t.Error("the page tells of a case that the stack does not pass")
	}
}

// A suite that nothing can fail proves nothing.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	s, err := stack.Start(stack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, c := range map[string]struct {
		run  func(*T)
		want Result
	}{
		"passes":            {func(t *T) { t.want("the body", t.send(t.queue("q", nil), "x").MD5OfMessageBody, digest("x")) }, Result{}},
		"another value":     {func(t *T) { t.want("the body", ptr(t.name("a")), "b") }, Result{Wrong, `the body is "x-a", not "b"`}},
		"no value":          {func(t *T) { t.want("the body", (*string)(nil), "b") }, Result{Wrong, `the body is null, not "b"`}},
		"does not hold":     {func(t *T) { t.that(false, "it is %d", 1) }, Result{Wrong, "it is 1"}},
		"accepted":          {func(t *T) { t.refused("it", nil, "X") }, Result{Wrong, "it is accepted"}},
		"no error of AWS's": {func(t *T) { t.refused("it", errors.New("x"), "X") }, Result{Wrong, "it fails without an error of AWS's form"}},
		"a failing operation": {
			func(t *T) { t.receive(t.Endpoint+"/000000000000/gone", 0) },
			Result{Wrong, "ReceiveMessage fails: AWS.SimpleQueueService.NonExistentQueue: The specified queue does not exist."},
		},
	} {
		got := runOne(t.Context(), Case{ID: "x", Service: "sqs", Run: c.run}, Stack, s.URL())
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		c    Case
		want Verdict
	}{
		"no such service": {Case{Service: "sqs"}, Absent},
		"none beside it":  {Case{Service: "s3", With: []string{"sqs"}}, Unsupported},
		"an unknown thing": {Case{Service: "s3", Run: func(t *T) {
			b := t.bucket("b")
			ok(t.S3.GetBucketAnalyticsConfiguration(t.ctx, &s3.GetBucketAnalyticsConfigurationInput{Bucket: &b, Id: ptr("i")}))
		}}, Unsupported},
	} {
		if got := runOne(t.Context(), c.c, emulators.Target{Services: []string{"s3"}}, s.URL()); got.Verdict != c.want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
