// Bench measures the built hub beside floors: the least program that does the same work with the same
// guarantee, on the same machine, in the same run. It prints one table of medians; docs/BENCHMARKS.md explains
// the rows. Runs of a floor and of what is measured beside it take turns, so that a slow minute hits both.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A row compares one figure with its floor.
type row struct {
	Group  string  `json:"group"`
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Floor  float64 `json:"floor"`
	Value  float64 `json:"value"`
	Ratio  float64 `json:"ratio"` // of the better to the worse direction: value/floor
	Target string  `json:"target"`
	Met    *bool   `json:"met,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// bench is one run of everything.
type bench struct {
	ctx    context.Context //nolint:containedctx // one program, one context
	dir    string          // scratch, on the disk that is measured
	binary string
	runs   int
	length time.Duration
	rows   []row
}

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "floor-") {
		if err := floorProcess(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	runs := flag.Int("runs", 5, "runs of each figure; the median is printed")
	length := flag.Duration("length", 2*time.Second, "length of one run")
	only := flag.String("only", "", "only these groups, separated by commas: documents, queue, http, wasm, invoke, start, stack")
	output := flag.String("output", "table", "table or json")
	binary := flag.String("binary", "bin/millrace", "the hub")
	dir := flag.String("dir", ".", "folder for scratch files, on the disk to measure")
	flag.Parse()
	if err := run(*runs, *length, *only, *output, *binary, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(runs int, length time.Duration, only, output, binary, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	scratch, err := os.MkdirTemp(dir, ".bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b := &bench{ctx: ctx, dir: scratch, binary: binary, runs: runs, length: length}
	groups := []struct {
		name string
		f    func() error
	}{
		{"documents", b.documents}, {"queue", b.queue}, {"http", b.queueHTTP}, {"wasm", b.wasm}, {"invoke", b.invoke}, {"start", b.start}, {"stack", b.stack},
	}
	for _, g := range groups {
		if only != "" && !slices.Contains(strings.Split(only, ","), g.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s …\n", g.name)
		if err := g.f(); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	if output == "json" {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(b.rows)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GROUP\tFIGURE\tFLOOR\tMILLRACE\tUNIT\tRATIO\tTARGET\tMET")
	for _, r := range b.rows {
		met := ""
		if r.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*r.Met]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Group, r.Name, number(r.Floor), number(r.Value), r.Unit, number(r.Ratio), r.Target, met)
		if r.Note != "" {
			fmt.Fprintf(w, "\t  %s\t\t\t\t\t\t\n", r.Note)
		}
	}
	return w.Flush()
}

func number(f float64) string {
	switch {
	case f == 0:
		return "-"
	case f >= 1000:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// side is one of the things that take turns.
type side func() (float64, error)

// turns runs each side b.runs times, in turns, and returns their medians.
func (b *bench) turns(sides ...side) ([]float64, error) {
	got := make([][]float64, len(sides))
	for range b.runs {
		for i, s := range sides {
			if err := b.ctx.Err(); err != nil {
				return nil, err
			}
			v, err := s()
			if err != nil {
				return nil, err
			}
			got[i] = append(got[i], v)
		}
	}
	medians := make([]float64, len(sides))
	for i, vs := range got {
		medians[i] = median(vs)
	}
	return medians, nil
}

func median(vs []float64) float64 {
	slices.Sort(vs)
	n := len(vs)
	if n%2 == 1 {
		return vs[n/2]
	}
	return (vs[n/2-1] + vs[n/2]) / 2
}

// atLeast adds a row whose ratio must not fall below least.
func (b *bench) atLeast(group, name, unit string, floor, value, least float64, note string) {
	r := row{Group: group, Name: name, Unit: unit, Floor: floor, Value: value, Ratio: value / floor, Note: note}
	if least > 0 {
		met := r.Ratio >= least
		r.Target, r.Met = fmt.Sprintf(">= %g", least), &met
	}
	b.rows = append(b.rows, r)
}

// atMost adds a row whose ratio must not exceed most.
func (b *bench) atMost(group, name, unit string, floor, value, most float64, note string) {
	r := row{Group: group, Name: name, Unit: unit, Floor: floor, Value: value, Ratio: value / floor, Note: note}
	if most > 0 {
		met := r.Ratio <= most
		r.Target, r.Met = fmt.Sprintf("<= %g", most), &met
	}
	b.rows = append(b.rows, r)
}

// plain adds a row with a figure of its own and a limit, without a floor.
func (b *bench) plain(group, name, unit string, value float64, target string, met bool, note string) {
	b.rows = append(b.rows, row{Group: group, Name: name, Unit: unit, Value: value, Target: target, Met: &met, Note: note})
}
