package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/api/admin"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/sources"
)

// health lists the parts of the hub. A trigger that cannot reach its upstream does not make the hub unready:
// everything else works, and taking the hub out of service would not mend it.
func (h *hub) health() []admin.Part {
	state := "running"
	switch {
	case h.gateway.stopped.Load():
		state = "stopping"
	case !h.ready.Load():
		state = "starting"
	}
	parts := []admin.Part{{Name: "hub", State: state, Ready: state == "running"}}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.triggers)) {
		state, _ := h.triggers[name].status()
		parts = append(parts, admin.Part{Name: "trigger " + name, State: state, Ready: true})
	}
	return parts
}

// status tells what runs, with examples that a person can copy.
func (h *hub) status(s *servers) admin.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := admin.Status{
		Version: h.version, File: h.file, Started: h.started, Loaded: h.loaded, LoadError: h.loadError,
		Gateway: s.gateway.url(), AWS: s.aws.url(),
	}
	for _, name := range slices.Sorted(maps.Keys(h.config.Triggers)) {
		tc := h.config.Triggers[name]
		t := admin.Trigger{Name: name, Kind: tc.Kind, Function: tc.Function, State: "disabled"}
		if running := h.triggers[name]; running != nil {
			var err error
			if t.State, err = running.status(); err != nil {
				t.Error = err.Error()
			}
			t.Example = example(st.Gateway, h.config.Dir, tc.With)
		}
		st.Triggers = append(st.Triggers, t)
	}
	for _, name := range slices.Sorted(maps.Keys(h.config.Functions)) {
		fc := h.config.Functions[name]
		f := admin.Function{Name: name, Runtime: fc.Runtime, ARN: h.functions.arnPrefix + name}
		if n := settings(fc.With).Reserved; n != executor.Unreserved {
			f.Reserved = &n
		}
		if st.AWS != "" {
			f.Example = fmt.Sprintf("aws lambda invoke --endpoint-url %s --function-name %s --cli-binary-format raw-in-base64-out --payload '{}' /dev/stdout", st.AWS, name)
		}
		st.Functions = append(st.Functions, f)
	}
	return st
}

// example is a command that makes a trigger take an event, or "".
func example(gateway, dir string, with any) string {
	e, ok := with.(sources.Exampler)
	if !ok {
		return ""
	}
	text := e.Example()
	if gateway == "" && strings.Contains(text, "{gateway}") {
		return ""
	}
	return strings.NewReplacer("{gateway}", gateway, "{dir}", dir).Replace(text)
}
