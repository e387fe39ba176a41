package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/millrace/millrace/test/emulators"
)

// Case is one thing that a client may rely on.
type Case struct {
	ID      string // "sqs-fifo-blocked": begins with the service
	Service string
	// With are other services that it uses.
	With []string
	// Says is the sentence of AWS's documentation that judges, and URL the page where it stands.
	Says, URL string
	Run       func(t *T)
}

// Verdict is how a target did in a case.
type Verdict int

const (
	Pass        Verdict = iota
	Wrong               // it does something else
	Unsupported         // it refuses, as something that it does not have
	Absent              // it does not have the service at all
)

// Result is a verdict and what the target did instead.
type Result struct {
	Verdict Verdict
	Detail  string
}

// patience is how long a case may take. The slowest emulators need most of it.
const patience = 40 * time.Second

// Run runs the cases against a target, several at once, and returns the results by the cases' ids.
func Run(ctx context.Context, cases []Case, target emulators.Target, endpoint string) map[string]Result {
	results := map[string]Result{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	work := make(chan Case)
	for range cmp.Or(target.Workers, 8) {
		wg.Go(func() {
			for c := range work {
				r := runOne(ctx, c, target, endpoint)
				mu.Lock()
				results[c.ID] = r
				mu.Unlock()
			}
		})
	}
	for _, c := range cases {
		work <- c
	}
	close(work)
	wg.Wait()
	return results
}

func runOne(ctx context.Context, c Case, target emulators.Target, endpoint string) (r Result) {
	if !slices.Contains(target.Services, c.Service) {
		return Result{Verdict: Absent}
	}
	for _, s := range c.With {
		if !slices.Contains(target.Services, s) {
			return Result{Unsupported, "there is no " + s + " beside it"}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t := &T{ctx: ctx, Clients: newClients(endpoint, target.Credentials), Endpoint: endpoint, unique: "c" + strings.ToLower(rand.Text()[:10])}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *failure:
			r = Result{p.verdict, ids.ReplaceAllString(strings.ReplaceAll(p.text, t.unique, "x"), "…")}
			if ctx.Err() != nil {
				r = Result{Wrong, fmt.Sprintf("not done within %v", patience)}
			}
		default:
			panic(p)
		}
	}()
	defer t.close()
	defer t.end()
	c.Run(t)
	return Result{}
}

// ids are what differs from run to run.
var ids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b\d{17,}\b|127\.0\.0\.1:\d+`)

// failure is what a case panics with to end itself. It never leaves runOne.
type failure struct {
	verdict Verdict
	text    string
}

// T is what a case works with. Its methods end the case when something is not as it should be; they are for the
// case's own goroutine.
type T struct {
	*Clients
	Endpoint string          // URL of the target
	ctx      context.Context //nolint:containedctx // one case's, as testing.T has one
	unique   string
	cleanups []func()
}

// name makes a name that no other case uses.
func (t *T) name(what string) string { return t.unique + "-" + what }

// after runs f when the case has ended.
func (t *T) after(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *T) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// wrong ends the case: the target did something else.
func (t *T) wrong(format string, args ...any) {
	panic(&failure{Wrong, fmt.Sprintf(format, args...)})
}

// want demands that two values are equal.
func (t *T) want(what string, got, want any) {
	if g, w := shown(got), shown(want); !reflect.DeepEqual(g, w) {
		t.wrong("%s is %s, not %s", what, brief(g), brief(w))
	}
}

// attributeValues shows items as DynamoDB's JSON does.
func attributeValues(v any) any {
	switch v := v.(type) {
	case item:
		m := map[string]any{}
		for k, a := range v {
			m[k] = attributeValues(a)
		}
		return m
	case []item:
		l := []any{}
		for _, i := range v {
			l = append(l, attributeValues(i))
		}
		return l
	case []types.AttributeValue:
		l := []any{}
		for _, a := range v {
			l = append(l, attributeValues(a))
		}
		return l
	case types.AttributeValue:
		r := reflect.ValueOf(v).Elem()
		return map[string]any{strings.TrimPrefix(r.Type().Name(), "AttributeValueMember"): attributeValues(r.FieldByName("Value").Interface())}
	}
	return v
}

// shown looks through a pointer, and tells numbers, enumerations and strings by their value.
func shown(v any) any {
	r := reflect.ValueOf(v)
	for r.Kind() == reflect.Pointer {
		if r.IsNil() {
			return nil
		}
		r = r.Elem()
	}
	switch {
	case !r.IsValid():
		return nil
	case r.Type() == reflect.TypeFor[item](), r.Type() == reflect.TypeFor[[]item]():
		return attributeValues(r.Interface())
	case r.CanInt():
		return r.Int()
	case r.Kind() == reflect.String:
		return r.String()
	case r.Kind() == reflect.Slice && r.Len() == 0:
		return []any(nil)
	}
	return r.Interface()
}

func brief(v any) string {
	s, ok := v.(string)
	if ok {
		s = fmt.Sprintf("%q", s)
	} else if data, err := json.Marshal(v); err == nil {
		s = string(data)
	} else {
		s = fmt.Sprint(v)
	}
	if r := []rune(s); len(r) > 120 {
		s = string(r[:120]) + "…"
	}
	return s
}

// that demands that something holds; what says what does not.
func (t *T) that(holds bool, format string, args ...any) {
	if !holds {
		t.wrong(format, args...)
	}
}

// ok returns the output of an operation that must succeed.
func ok[Out any](out Out, err error) Out {
	if err != nil {
		fail(err)
	}
	return out
}

func fail(err error) {
	var api smithy.APIError
	var response interface{ HTTPStatusCode() int }
	var op *smithy.OperationError
	name, code, message, status := "an operation", "", err.Error(), 0
	if errors.As(err, &op) {
		name = op.Operation()
	}
	if errors.As(err, &api) {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	text := strings.Join(strings.Fields(message), " ")
	if code == "" && status >= http.StatusBadRequest {
		text = fmt.Sprintf("HTTP status %d without an error of AWS's form", status)
	}
	if r := []rune(text); len(r) > 140 {
		text = string(r[:140]) + "…"
	}
	f := &failure{Wrong, fmt.Sprintf("%s fails: %s", name, text)}
	if code != "" {
		f.text = fmt.Sprintf("%s fails: %s: %s", name, code, text)
	}
	if unsupported(code, message, status) {
		f.verdict = Unsupported
	}
	panic(f)
}

// unsupported tells how servers say that they do not have an operation.
func unsupported(code, message string, status int) bool {
	switch code {
	case "UnknownOperationException", "UnknownOperation", "InvalidAction", "NotImplemented", "NotImplementedException", "UnsupportedOperationException":
		return true
	}
	return status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed ||
		strings.Contains(message, "not implemented") || strings.Contains(message, "not been implemented")
}

// refused demands that an operation failed with a code, of which there may be several, separated by "|", where
// protocols differ. The rest must be in the message.
func (t *T) refused(what string, err error, codes string, parts ...string) {
	if err == nil {
		t.wrong("%s is accepted", what)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.wrong("%s fails without an error of AWS's form", what)
	}
	// The prefix is the Query protocol's, and which code has it is not documented.
	if !slices.Contains(strings.Split(codes, "|"), strings.TrimPrefix(api.ErrorCode(), "AWS.SimpleQueueService.")) {
		var response interface{ HTTPStatusCode() int }
		status := 0
		if errors.As(err, &response) {
			status = response.HTTPStatusCode()
		}
		if unsupported(api.ErrorCode(), api.ErrorMessage(), status) {
			fail(err)
		}
		t.wrong("%s is refused with %s (%s), not %s", what, api.ErrorCode(), brief(api.ErrorMessage()), strings.ReplaceAll(codes, "|", " or "))
	}
	for _, p := range parts {
		if !strings.Contains(api.ErrorMessage(), p) {
			t.wrong("the refusal of %s says %s, not %q", what, brief(api.ErrorMessage()), p)
		}
	}
}

// errOf drops the output of an operation.
func errOf[Out any](_ Out, err error) error { return err }

// wait lets time pass.
func (t *T) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
		t.wrong("no time left")
	}
}

// eventually waits until something holds, which must be soon.
func (t *T) eventually(what string, limit time.Duration, holds func() bool) {
	deadline := time.Now().Add(limit)
	for pause := 20 * time.Millisecond; !holds(); pause = min(2*pause, 200*time.Millisecond) {
		if time.Now().After(deadline) || t.ctx.Err() != nil {
			t.wrong("%s does not come about within %v", what, limit)
		}
		t.wait(pause)
	}
}

// ptr is a pointer to a value, for optional members.
func ptr[V any](v V) *V { return &v }

// text is the string that a pointer leads to, "" if it is nil.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// document reads a JSON object.
func (t *T) document(what, s string) map[string]any {
	var d map[string]any
	if err := json.Unmarshal([]byte(s), &d); err != nil {
		t.wrong("%s is no JSON object: %s", what, brief(s))
	}
	return d
}

// at reads a value of a document by the names and indexes that lead to it, nil if there is none.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}
