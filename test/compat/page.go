package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/test/emulators"
)

// titles are the services by the beginnings of the cases' ids.
var titles = [][2]string{
	{"sqs", "SQS"}, {"sns", "SNS"}, {"kinesis", "Kinesis"}, {"dynamodb", "DynamoDB"}, {"streams", "DynamoDB Streams"},
	{"s3", "S3"}, {"events", "EventBridge"}, {"scheduler", "EventBridge Scheduler"},
}

// page writes the comparison. results are those of the targets, in their order.
func page(cases []Case, targets []emulators.Target, results []map[string]Result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("<!-- Written by `go run ./test/compat`. Do not edit. -->")
	p("# The local stack and other emulators")
	p("")
	p("One suite of %d cases, written against aws-sdk-go-v2, was run against the [local stack](../guide/stack.md) and other", len(cases))
	p("emulators. The judge of each case is the sentence of AWS's documentation that it links to. `go test ./test/compat` runs")
	p("the suite again, and the stack must pass all of it; `go run ./test/compat` writes this page.")
	p("")
	var with []string
	for _, t := range targets[1:] {
		with = append(with, fmt.Sprintf("[%s](%s) %s", t.Name, t.Link, t.Version))
	}
	p("Compared with: %s.", strings.Join(with, ", "))
	p("")
	p("Cases passed, of those of each service:")
	p("")
	head, rule := "| |", "|---|"
	for _, t := range targets {
		head, rule = head+" "+t.Name+" |", rule+"---|"
	}
	p("%s\n%s", head, rule)
	for _, title := range titles {
		row, of := "| "+title[1]+" |", 0
		for _, c := range cases {
			if c.Service == title[0] {
				of++
			}
		}
		for i, t := range targets {
			if !slices.Contains(t.Services, title[0]) {
				row += " – |"
				continue
			}
			n := 0
			for _, c := range cases {
				if c.Service == title[0] && results[i][c.ID].Verdict == Pass {
					n++
				}
			}
			row += fmt.Sprintf(" %d of %d |", n, of)
		}
		p("%s", row)
	}
	p("")
	p("## Differences")
	p("")
	p("What each does instead, where it does not do what AWS's documentation says. *No* is an operation that is refused as")
	p("not supported. Servers that are not named pass, or do not have the service.")
	for _, title := range titles {
		var same []string
		p("")
		p("### %s", title[1])
		p("")
		p("| case | AWS's documentation | otherwise |")
		p("|---|---|---|")
		for _, c := range cases {
			if c.Service != title[0] {
				continue
			}
			var others []string
			for i, t := range targets {
				switch r := results[i][c.ID]; r.Verdict {
				case Wrong:
					others = append(others, "**"+t.Name+"**: "+cell(r.Detail))
				case Unsupported:
					others = append(others, "**"+t.Name+"**: *no*")
				case Pass, Absent:
				}
			}
			if others == nil {
				same = append(same, "["+c.ID+"]("+c.URL+")")
				continue
			}
			p("| %s | [%s](%s) | %s |", c.ID, cell(c.Says), c.URL, strings.Join(others, "<br>"))
		}
		if same != nil {
			p("")
			p("Passed by all: %s.", strings.Join(same, ", "))
		}
	}
	return b.String()
}

// cell escapes what a table's cell may not hold.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "[", `\[`, "]", `\]`, "*", `\*`, "\n", " ").Replace(s)
}
