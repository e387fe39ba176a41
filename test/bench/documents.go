package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

var benchLine = regexp.MustCompile(`^Benchmark(\S+?)-\d+\s+\d+\s+[\d.]+ ns/op\s+([\d.]+) MB/s\s+[\d.]+ B/op\s+(\d+) allocs/op`)

// documents runs the benchmarks of package event, which make each shape from records of about 1 KB.
func (b *bench) documents() error {
	cmd := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(AppendS3|AppendSNS|PubSub|EventBridge|HTTPDocuments)",
		"-benchmem", "-benchtime", "200ms", "-count", strconv.Itoa(b.runs), "github.com/millrace/millrace/event")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	rates, allocs := map[string][]float64{}, map[string]int{}
	var names []string
	for line := range strings.Lines(string(out)) {
		m := benchLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rate, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(m[3])
		if err != nil {
			return err
		}
		if rates[m[1]] == nil {
			names = append(names, m[1])
		}
		rates[m[1]] = append(rates[m[1]], rate)
		allocs[m[1]] = max(allocs[m[1]], n)
	}
	if len(names) == 0 {
		return fmt.Errorf("no figures in\n%s", out)
	}
	for _, name := range names {
		rate := median(rates[name])
		b.plain("documents", name, "MB/s", rate, ">= 1000, 0 allocs", rate >= 1000 && allocs[name] == 0, fmt.Sprintf("%d allocations", allocs[name]))
	}
	return nil
}
