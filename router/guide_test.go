package router

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// guide is the page of the documentation that the tests below run.
func guide(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/guide/patterns.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// blocks are the texts of the page's fenced blocks of JSON, each with the word behind "json".
func blocks(page string) (all [][2]string) {
	for _, block := range strings.Split(page, "```json ")[1:] {
		kind, rest, _ := strings.Cut(block, "\n")
		text, _, _ := strings.Cut(rest, "```")
		all = append(all, [2]string{kind, text})
	}
	return all
}

// rowsOf are the cells of the rows of the table whose head begins with the title.
func rowsOf(t *testing.T, page, title string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n| "+title)
	if !ok {
		t.Fatalf("no table with %q", title)
	}
	body, _, _ := strings.Cut(rest, "\n\n")
	for _, line := range strings.Split(body, "\n")[2:] {
		rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
	}
	return rows
}

// codes are the texts in backquotes.
func codes(cell string) (all []string) {
	for i, s := range strings.Split(cell, "`") {
		if i%2 == 1 {
			all = append(all, s)
		}
	}
	return all
}

func TestGuidePatterns(t *testing.T) {
	t.Parallel()
	pattern, shown := "", 0
	for _, block := range blocks(guide(t)) {
		switch kind, text := block[0], block[1]; kind {
		case "pattern":
			pattern = text
		case "event", "other":
			if pattern == "" {
				continue // of the transformers
			}
			shown++
			if got := matches(t, EventBridge, []byte(pattern), []byte(text)); got != (kind == "event") {
				t.Errorf("match of %s with %s: %t", text, pattern, got)
			}
			pattern = ""
		}
	}
	if shown != 3 {
		t.Errorf("%d patterns with an event", shown)
	}
}

func TestGuideOperators(t *testing.T) {
	t.Parallel()
	rows := rowsOf(t, guide(t), "pattern | matches")
	for _, row := range rows {
		pattern := codes(row[0])[0]
		for i, want := range []bool{true, false} {
			for _, value := range codes(row[i+1]) {
				if got := matches(t, EventBridge, []byte(pattern), []byte(`{"x":`+value+`}`)); got != want {
					t.Errorf("match of %s with %s: %t", value, pattern, got)
				}
			}
		}
	}
	if len(rows) < 20 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestGuideDialects(t *testing.T) {
	t.Parallel()
	rows := rowsOf(t, guide(t), "pattern | bus rules")
	for _, row := range rows {
		pattern := codes(row[0])[0]
		for i, dialects := range [][]Dialect{{EventBridge}, {Lambda}, {SNSAttributes, SNSBody}} {
			for _, d := range dialects {
				if _, err := Compile([]byte(pattern), d); (err == nil) != (row[i+1] == "yes") {
					t.Errorf("Compile(%s, %v) = %v", pattern, d, err)
				}
			}
		}
	}
	if len(rows) != 6 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestGuideTransformers(t *testing.T) {
	t.Parallel()
	page := guide(t)
	var doc string
	var paths map[string]string
	for _, block := range blocks(page) {
		switch block[0] {
		case "event":
			doc = block[1]
		case "paths":
			if err := json.Unmarshal([]byte(block[1]), &paths); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows := rowsOf(t, page, "template | delivered")
	for _, row := range rows {
		tr, err := NewTransformer(paths, codes(row[0])[0])
		if err != nil {
			t.Errorf("%s: %v", row[0], err)
			continue
		}
		got, err := tr.Append(nil, Source{Event: []byte(doc), RuleName: "r"})
		switch {
		case strings.HasPrefix(row[1], "nothing"):
			if err == nil {
				t.Errorf("%s: %s", row[0], got)
			}
		case strings.HasPrefix(row[1], "as it says"):
			if err != nil {
				t.Errorf("%s: %v", row[0], err)
			}
		case err != nil || string(got) != codes(row[1])[0]:
			t.Errorf("%s:\ngot  %s, %v\nwant %s", row[0], got, err, row[1])
		}
	}
	if len(rows) != 6 {
		t.Errorf("%d rows", len(rows))
	}
}
