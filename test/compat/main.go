// Command compat runs one suite of client programs, written against the AWS SDK, against the local stack and the
// emulators that install.sh installs, and writes how each does to docs/reference/emulators.md. AWS's documentation
// is the judge: each case has the sentence that it checks.
//
// The suite's tests run it too: the stack must pass every case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/millrace/millrace/stack"
	"github.com/millrace/millrace/test/emulators"
)

func main() {
	out := flag.String("o", "docs/reference/emulators.md", "the file to write")
	flag.Parse()
	if err := generate(context.Background(), *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// generate is for the root of the checkout.
func generate(ctx context.Context, out string) error {
	s, err := stack.Start(stack.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	targets := append([]emulators.Target{Stack}, emulators.Others...)
	results := make([]map[string]Result, len(targets))
	results[0] = Run(ctx, Cases(), Stack, s.URL())
	for id, r := range results[0] {
		if r.Verdict != Pass {
			err = errors.Join(err, fmt.Errorf("the local stack fails %s: %s", id, r.Detail))
		}
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "millrace-compat-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, t := range emulators.Others {
		own, err := os.MkdirTemp(dir, t.Name)
		if err != nil {
			return err
		}
		endpoint, stop, err := t.Start(ctx, ".", own)
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "running", len(Cases()), "cases against", t.Name)
		results[i+1] = Run(ctx, Cases(), t, endpoint)
		stop()
	}
	return os.WriteFile(out, []byte(page(Cases(), targets, results)), 0o644) //nolint:gosec // documentation
}

// Stack is the local stack itself.
var Stack = emulators.Target{Name: "millrace", Services: emulators.Everything}

// Cases are all cases, by service.
func Cases() (all []Case) {
	for _, s := range []struct {
		service string
		cases   []Case
	}{
		{"sqs", sqsCases()},
		{"sns", snsCases()},
		{"kinesis", kinesisCases()},
		{"dynamodb", dynamoCases()},
		{"streams", streamCases()},
		{"s3", s3Cases()},
		{"events", eventCases()},
		{"scheduler", schedulerCases()},
	} {
		for _, c := range s.cases {
			c.Service = s.service
			all = append(all, c)
		}
	}
	return all
}

// runAll runs the cases against several targets at once, each in a folder of its own below dir. It returns the
// results by target, and the errors of those that could not be started.
func runAll(ctx context.Context, targets []emulators.Target, root string, dir func() string) (results map[string]map[string]Result, failed map[string]error) {
	results, failed = map[string]map[string]Result{}, map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, t := range targets {
		own := dir()
		wg.Go(func() {
			endpoint, stop, err := t.Start(ctx, root, own)
			var r map[string]Result
			if err == nil {
				r = Run(ctx, Cases(), t, endpoint)
				stop()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[t.Name] = err
			} else {
				results[t.Name] = r
			}
		})
	}
	wg.Wait()
	return results, failed
}

// count counts the results of a verdict.
func count(results map[string]Result, v Verdict) (n int) {
	for r := range maps.Values(results) {
		if r.Verdict == v {
			n++
		}
	}
	return n
}

// failures lists the cases that are not passed, sorted.
func failures(results map[string]Result) (all []string) {
	for id, r := range results {
		if r.Verdict != Pass {
			all = append(all, id+": "+r.Detail)
		}
	}
	slices.Sort(all)
	return all
}
