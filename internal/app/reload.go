package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
)

// change is the difference between two files, opened but not yet in force.
type change struct {
	config       *config.Config
	functions    map[string]*function // new or changed, as are the rest
	destinations map[string]destinations.Destination
	triggers     map[string]*trigger
}

// prepare opens what c has and old has not, or has differently. On an error nothing stays open.
func (h *hub) prepare(ctx context.Context, c, old *config.Config) (*change, error) {
	ch := &change{
		config:       c,
		functions:    map[string]*function{},
		destinations: map[string]destinations.Destination{},
		triggers:     map[string]*trigger{},
	}
	var problems config.Problems
	bad := func(family, name string, err error) {
		problems = append(problems, config.Problem{Position: c.Where(family, name), Msg: err.Error()})
	}
	for _, name := range changed(old.Functions, c.Functions) {
		fc := c.Functions[name]
		spec, _ := h.kinds.Functions.Lookup(fc.Runtime)
		f, err := h.functions.prepare(ctx, name, fc, spec, h.deps(c, "function", name, fc.Runtime))
		if err != nil {
			bad("functions", name, err)
			continue
		}
		ch.functions[name] = f
	}
	for _, name := range changed(old.Destinations, c.Destinations) {
		dc := c.Destinations[name]
		spec, _ := h.kinds.Destinations.Lookup(dc.Kind)
		d, err := spec.Open(ctx, dc.With, h.deps(c, "destination", name, dc.Kind))
		if err != nil {
			bad("destinations", name, err)
			continue
		}
		ch.destinations[name] = d
	}
	for _, name := range changed(old.Triggers, c.Triggers) {
		tc := c.Triggers[name]
		spec, _ := h.kinds.Sources.Lookup(tc.Kind)
		d := h.deps(c, "trigger", name, tc.Kind)
		s, err := spec.Open(ctx, tc.With, d)
		if err != nil {
			bad("triggers", name, err)
			continue
		}
		if tc.Enabled {
			ch.triggers[name] = &trigger{
				name: name, config: tc, source: s, hub: h.sourceHub(name, tc),
				clock: h.clock, log: d.Log, starts: h.starts.WithLabelValues(name),
			}
		}
	}
	if len(problems) > 0 {
		ch.discard(ctx)
		slices.SortStableFunc(problems, func(a, b config.Problem) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, problems
	}
	return ch, nil
}

// changed lists the names of now that before has not, or has differently, sorted.
func changed[V any](before, now map[string]V) (names []string) {
	for name, v := range now {
		if was, ok := before[name]; !ok || !reflect.DeepEqual(was, v) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// gone lists the names of before that now has not, sorted.
func gone[V any](before, now map[string]V) (names []string) {
	for name := range before {
		if _, ok := now[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// discard closes what prepare opened.
func (ch *change) discard(ctx context.Context) {
	for _, f := range ch.functions {
		f.runs.Close(ctx) //nolint:errcheck // it has run nothing
	}
	for _, d := range ch.destinations {
		d.Close(ctx) //nolint:errcheck // it has been sent nothing
	}
}

// commit puts ch in force: functions and destinations first, so that no trigger meets one that is missing.
// What is replaced ends in the background.
func (h *hub) commit(ctx context.Context, ch *change) {
	old := h.config
	h.config = ch.config
	for _, f := range ch.functions {
		if was := h.functions.set(f); was != nil {
			h.retire("function", was.name, was.runs)
		}
	}
	for name, d := range ch.destinations {
		if was := h.targets.set(name, d); was != nil {
			h.retire("destination", name, was)
		}
	}
	h.replaceTriggers(ctx, ch, gone(old.Triggers, ch.config.Triggers))
	for _, name := range gone(old.Destinations, ch.config.Destinations) {
		h.retire("destination", name, h.targets.set(name, nil))
	}
	for _, name := range gone(old.Functions, ch.config.Functions) {
		h.retire("function", name, h.functions.remove(name).runs)
	}
	if h.worker != nil {
		h.worker.Changed()
	}
}

// replaceTriggers stops the triggers that changed or are gone and starts their successors. Requests that
// arrive meanwhile wait.
func (h *hub) replaceTriggers(ctx context.Context, ch *change, goneTriggers []string) {
	end := h.gateway.change()
	defer end()
	for _, name := range goneTriggers {
		h.stopTrigger(ctx, name)
		h.starts.DeleteLabelValues(name)
		for _, result := range []string{"answered", "accepted", "refused"} {
			h.events.DeleteLabelValues(name, result)
		}
	}
	for name, t := range h.triggers {
		if now := ch.config.Triggers[name]; !reflect.DeepEqual(t.config, now) {
			h.stopTrigger(ctx, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ch.triggers)) {
		h.triggers[name] = ch.triggers[name]
		if h.running {
			h.triggers[name].start(ctx)
		}
	}
}

func (h *hub) stopTrigger(ctx context.Context, name string) {
	t := h.triggers[name]
	if t == nil {
		return
	}
	ctx, cancel := clock.WithTimeout(ctx, h.clock, h.config.Shutdown.Timeout)
	defer cancel()
	if !t.stop(ctx) {
		h.log.Warn("trigger did not stop in time", "trigger", name)
	}
	delete(h.triggers, name)
}

// retire closes a replaced component once its work is done, in the background.
func (h *hub) retire(family, name string, c interface{ Close(context.Context) error }) {
	h.closing.Go(func() {
		// A function may run as long as AWS permits; its successor already takes what is new.
		ctx, cancel := clock.WithTimeout(context.Background(), h.clock, executor.MaxTimeout)
		defer cancel()
		stop := context.AfterFunc(h.ending, cancel)
		defer stop()
		if err := c.Close(ctx); err != nil {
			h.log.Warn("replaced component did not close cleanly", family, name, "error", err)
		}
	})
}

// reload reads the file again and applies the difference. On an error everything stays as it was.
func (h *hub) reload(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.apply(ctx)
	h.loadError = ""
	if err != nil {
		h.loadError = err.Error()
	}
	return err
}

func (h *hub) apply(ctx context.Context) error {
	if h.ending.Err() != nil {
		return errors.New("the hub is stopping")
	}
	c, err := config.Load(h.file, h.kinds.config())
	if err != nil {
		return err
	}
	old := h.config
	for _, part := range []struct {
		name     string
		was, now any
	}{
		{"store", old.Store, c.Store}, {"data", old.Data, c.Data}, {"listen", old.Listen, c.Listen},
		{"security", old.Security, c.Security}, {"aws", old.AWS, c.AWS}, {"concurrency", old.Concurrency, c.Concurrency},
		{"stack", old.Stack, c.Stack},
		{"log", old.Log, c.Log}, {"tracing", old.Tracing, c.Tracing}, {"shutdown", old.Shutdown, c.Shutdown},
	} {
		if !reflect.DeepEqual(part.was, part.now) {
			return fmt.Errorf("%s: %s has changed, which takes a restart of the hub; nothing has been applied", h.file, part.name)
		}
	}
	ch, err := h.prepare(ctx, c, old)
	if err != nil {
		return err
	}
	h.commit(ctx, ch)
	h.loaded = h.clock.Now()
	h.log.Info("applied the changed file", "functions", len(ch.functions), "destinations", len(ch.destinations), "triggers", len(ch.triggers))
	return nil
}
