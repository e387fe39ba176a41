package admin

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/millrace/millrace/async"
)

//go:embed page.html
var pageSource string

//go:embed style.css
var style []byte

func parsePage() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"time": func(t time.Time) string {
			if t.IsZero() {
				return "–"
			}
			return t.UTC().Format("2006-01-02 15:04:05 UTC")
		},
	}).Parse(pageSource))
}

// view is what the page shows.
type view struct {
	Status
	Health  healthAnswer
	Queue   []async.Stat
	Failed  []async.Entry
	Trouble string // why the ledger could not be read
	Now     time.Time
}

const failedShown = 10

func (s *server) servePage(w http.ResponseWriter, r *http.Request) {
	v := view{Status: s.Status(), Health: s.health(), Now: s.Clock.Now()}
	var err error
	if v.Queue, err = s.Ledger.Stats(r.Context()); err == nil {
		v.Failed, _, err = s.Ledger.List(r.Context(), async.Query{States: []async.State{async.Failed}, Limit: failedShown})
	}
	if err != nil {
		v.Trouble = err.Error()
	}
	var page bytes.Buffer
	if err := s.page.Execute(&page, v); err != nil {
		s.fail(w, r, fmt.Errorf("making the page: %w", err))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.Write(page.Bytes())
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(style)
}
