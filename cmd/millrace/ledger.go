package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/api/admin"
	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/internal/plugin"
)

// remote are the flags of the commands that ask a running hub.
type remote struct {
	hub, token, output string
}

func (r *remote) flags(cmd *cobra.Command) {
	hub := os.Getenv("MILLRACE_ADMIN")
	if hub == "" {
		hub = "http://127.0.0.1:9000"
	}
	f := cmd.PersistentFlags()
	f.StringVar(&r.hub, "hub", hub, "admin address of the hub ($MILLRACE_ADMIN)")
	f.StringVar(&r.token, "token", "", "its token ($MILLRACE_TOKEN)")
	f.StringVarP(&r.output, "output", "o", "table", "table, or json for programs")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (r *remote) client() (*admin.Client, error) {
	if r.output != "table" && r.output != "json" {
		return nil, usage("--output %q: want table or json", r.output)
	}
	token := r.token
	if token == "" {
		token = os.Getenv("MILLRACE_TOKEN")
	}
	return admin.NewClient(r.hub, plugin.Secret(token))
}

// print writes v as JSON, or as the table that rows fills.
func (r *remote) print(out io.Writer, v any, rows func(w io.Writer)) error {
	if r.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows(w)
	return w.Flush()
}

func queueCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{Use: "queue", Short: "See the queue of accepted events"}
	r.flags(cmd)
	var events bool
	var s selection
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the queue of each function, or with --events the events that wait or run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			if events {
				return failed(listEvents(cmd, c, r, s, async.Queued, async.Running))
			}
			if s != (selection{limit: s.limit}) || cmd.Flags().Changed("limit") {
				return usage("%s: --function, --since and --limit choose events, so they go with --events", cmd.CommandPath())
			}
			stats, err := c.Queue(cmd.Context())
			if err != nil {
				return failed(err)
			}
			now := clockNow()
			return failed(r.print(cmd.OutOrStdout(), stats, func(w io.Writer) {
				fmt.Fprintln(w, "FUNCTION\tQUEUED\tRUNNING\tOLDEST\tACCEPTED\tSUCCEEDED\tFAILED\tDISCARDED")
				for _, s := range stats {
					fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\n", s.Function, s.Queued, s.Running, age(now, s.Oldest),
						s.Accepted, s.Succeeded, s.Failed, s.Discarded)
				}
			}))
		},
	}
	ls.Flags().BoolVar(&events, "events", false, "list events, not totals")
	s.flags(ls)
	cmd.AddCommand(ls)
	return cmd
}

// selection are the flags that choose events.
type selection struct {
	function string
	since    time.Duration
	limit    int
	all      bool
}

func (s *selection) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.function, "function", "", "only events of this function")
	cmd.Flags().DurationVar(&s.since, "since", 0, "only events accepted within this time, such as 1h")
	cmd.Flags().IntVar(&s.limit, "limit", 100, "at most so many, newest first; 0 is all")
	cmd.PreRunE = s.check
}

// check refuses what would otherwise select everything.
func (s *selection) check(cmd *cobra.Command, _ []string) error {
	if s.since < 0 || s.limit < 0 {
		return usage("%s: --since and --limit are not below zero", cmd.CommandPath())
	}
	return nil
}

func (s *selection) query(states ...async.State) async.Query {
	q := async.Query{States: states, Function: s.function, Limit: s.limit}
	if s.since > 0 {
		q.Since = clockNow().Add(-s.since)
	}
	return q
}

func listEvents(cmd *cobra.Command, c *admin.Client, r remote, s selection, states ...async.State) error {
	entries, err := list(cmd.Context(), c, s.query(states...))
	if err != nil {
		return err
	}
	now := clockNow()
	return r.print(cmd.OutOrStdout(), entries, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tFUNCTION\tSTATE\tAGE\tATTEMPTS\tREASON\tLAST ERROR")
		for _, e := range entries {
			reason, last := e.Condition, ""
			if n := len(e.Attempts); n > 0 {
				a := e.Attempts[n-1]
				last = strings.TrimSpace(a.Type + " " + oneLine(a.Message, 60))
			}
			if reason == "" && e.State == async.Queued && e.Next.After(now) {
				reason = "next try in " + round(e.Next.Sub(now))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", e.ID, e.Function, e.State, age(now, e.Accepted), e.Invokes, reason, last)
		}
	})
}

// list follows the pages until q.Limit entries are there.
func list(ctx context.Context, c *admin.Client, q async.Query) ([]async.Entry, error) {
	entries := []async.Entry{}
	limit := q.Limit
	for {
		q.Limit = 1000
		if limit > 0 {
			q.Limit = min(1000, limit-len(entries))
		}
		page, next, err := c.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		entries = append(entries, page...)
		if next == "" || limit > 0 && len(entries) >= limit {
			return entries, nil
		}
		q.After = next
	}
}

func dlqCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "See, run again or discard the events that were given up",
		Long: `An event is given up when its retries or its age are used up, or when its function refuses it for good. It stays
in the ledger, with its payload, until it is redriven, purged, or older than the store's retention.`,
	}
	r.flags(cmd)

	var listed selection
	ls := &cobra.Command{
		Use: "ls", Short: "List them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			return failed(listEvents(cmd, c, r, listed, async.Failed))
		},
	}
	listed.flags(ls)

	show := &cobra.Command{
		Use: "show ID", Short: "Show one whole, with payload and last response", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			e, err := c.Event(cmd.Context(), args[0])
			if err != nil {
				return failed(err)
			}
			return failed(r.print(cmd.OutOrStdout(), e, func(w io.Writer) { showEvent(w, e) }))
		},
	}
	cmd.AddCommand(ls, show,
		bulk(&r, "redrive", "Queue them again, as new: first attempt, full age", "queued again", (*admin.Client).Redrive),
		bulk(&r, "purge", "Discard them for good", "discarded", (*admin.Client).Purge))
	return cmd
}

// bulk is a command on some of the dead letters: named ones, or those that flags select, or all.
func bulk(r *remote, name, short, done string, do func(*admin.Client, context.Context, async.Query) (int, error)) *cobra.Command {
	var s selection
	cmd := &cobra.Command{
		Use:   name + " {ID… | --function NAME | --all}",
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			switch narrow := s.function != "" || s.since != 0; {
			case len(args) == 0 && !narrow && !s.all:
				return usage("%s: say which: ids, --function, --since, or --all", cmd.CommandPath())
			case len(args) > 0 && (narrow || s.all), narrow && s.all:
				return usage("%s: give ids, or --function and --since, or --all, and not two of them", cmd.CommandPath())
			}
			n := 0
			if len(args) == 0 {
				q := s.query(async.Failed)
				q.Limit = 0
				if n, err = do(c, cmd.Context(), q); err != nil {
					return failed(err)
				}
			}
			for _, id := range args {
				k, err := do(c, cmd.Context(), async.Query{ID: id})
				if err != nil {
					return failed(err)
				}
				if k == 0 {
					return failed(fmt.Errorf("%s: not a dead letter that can be %s (see `millrace why %s`); %d before it were", id, done, id, n))
				}
				n += k
			}
			return failed(r.print(cmd.OutOrStdout(), map[string]int{"events": n}, func(w io.Writer) {
				noun := "events"
				if n == 1 {
					noun = "event"
				}
				fmt.Fprintf(w, "%d %s %s\n", n, noun, done)
			}))
		},
	}
	cmd.Flags().StringVar(&s.function, "function", "", "those of this function")
	cmd.Flags().DurationVar(&s.since, "since", 0, "those accepted within this time, such as 1h")
	cmd.PreRunE = s.check
	cmd.Flags().BoolVar(&s.all, "all", false, "every one")
	return cmd
}

func whyCommand() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use:   "why ID",
		Short: "Tell what became of an event, and why",
		Long: `Why tells the story of one event: who sent it, each attempt and its result, what happens next or why it was given
up, and what became of its records. ID is the request id that the sender got.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.client()
			if err != nil {
				return err
			}
			story, err := c.Why(cmd.Context(), args[0])
			if err != nil {
				return failed(err)
			}
			return failed(r.print(cmd.OutOrStdout(), story, func(w io.Writer) { tell(w, story) }))
		},
	}
	r.flags(cmd)
	return cmd
}

func oneLine(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func age(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return round(now.Sub(t))
}

func round(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}
