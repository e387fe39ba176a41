package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

// defaults sets v, a new named section, to what it is when nothing is set in it.
func (d *decoder) defaults(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *Function:
		*x = FunctionDefaults()
	case *Trigger:
		*x = TriggerDefaults()
	}
}

// open gives v, if it is the section of a component, the configuration of its kind to fill in. It is false if
// v is such a section and its kind is not known.
func (d *decoder) open(n *node, v reflect.Value, path string) bool {
	switch x := v.Addr().Interface().(type) {
	case *Function:
		x.With = d.kind(n, "runtime", "", path, d.kinds.Functions)
		return x.With != nil
	case *Trigger:
		x.With = d.kind(n, "kind", "", path, d.kinds.Sources)
		return x.With != nil
	case *Destination:
		x.With = d.kind(n, "kind", "", path, d.kinds.Destinations)
		return x.With != nil
	case *Store:
		x.With = d.kind(n, "kind", x.Kind, path, d.kinds.Stores)
		return x.With != nil
	}
	return true
}

func (d *decoder) kind(n *node, key, kind, path string, kinds map[string]func() any) any {
	at, value := path+"."+key, n
	if e := n.get(key); e != nil && e.value.kind != null {
		value, kind = e.value, e.value.text
		if e.value.kind != scalar || e.value.broken {
			return nil // which is reported when the field is decoded
		}
	}
	switch defaults := kinds[kind]; {
	case defaults != nil:
		return defaults()
	case kind == "":
		d.problem(value, at, "%s is missing; known: %s", key, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	default:
		d.problem(value, at, "%s", unknown(key, kind, slices.Collect(maps.Keys(kinds))))
	}
	return nil
}

// finish asks the configuration of a component, once it is filled in, whether it makes sense.
func (d *decoder) finish(n *node, v reflect.Value, path string) {
	var with any
	switch x := v.Addr().Interface().(type) {
	case *Function:
		d.validate(n, x.With, path)
		return
	case *Trigger:
		with = x.With
	case *Destination:
		with = x.With
	case *Store:
		with = x.With
	}
	if e := n.get("with"); e != nil && e.value.kind == section {
		n = e.value
	}
	d.validate(n, with, path+".with")
}

func (d *decoder) validate(n *node, with any, path string) {
	v, ok := with.(interface{ Validate() error })
	if !ok {
		return
	}
	for _, err := range flatten(v.Validate()) {
		field, msg := "", err.Error()
		var fe *plugin.FieldError
		if errors.As(err, &fe) {
			field = fe.Path
		}
		d.invalid(n, path, field, msg)
	}
}

// flatten takes apart what errors.Join put together.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	many, ok := err.(interface{ Unwrap() []error }) // not errors.As: what is wrapped further in has its own prefix
	if !ok || err.Error() != errors.Join(many.Unwrap()...).Error() {
		return []error{err}
	}
	var all []error
	for _, e := range many.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// invalid reports msg about the value at field, a path in n, unless that value was reported before. path is
// where n stands.
func (d *decoder) invalid(n *node, path, field, msg string) {
	full := path
	switch {
	case strings.HasPrefix(field, "["):
		full += field
	case field != "":
		full = join(path, field)
	}
	for bad := range d.bad {
		if within(bad, full) || within(full, bad) {
			return
		}
	}
	at := find(n, field)
	if at.secret {
		msg = at.hide(msg)
	}
	d.problems.add(at.pos, "%s", msg)
}

// within says whether path is parent or a part of it.
func within(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[' || parent == "")
}

// find is the value at path in n, such as "routes[2].method" or "headers[X-Name]", or what is nearest to it.
func find(n *node, path string) *node {
	path = strings.TrimPrefix(path, ".")
	if path == "" {
		return n
	}
	if inner, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]"); ok && path[0] == '[' {
		if i, err := strconv.Atoi(inner); err == nil && n.kind == list && i >= 0 && i < len(n.items) {
			return find(n.items[i], rest)
		}
		if e := n.get(inner); e != nil {
			return find(e.value, rest)
		}
		return n
	}
	var best *entry // the longest key that path begins with: keys may have dots
	for _, e := range n.entries {
		if within(path, e.key) && (best == nil || len(e.key) > len(best.key)) {
			best = e
		}
	}
	switch {
	case best == nil:
		return n
	case best.value.kind == null:
		return &node{pos: best.pos}
	}
	return find(best.value, path[len(best.key):])
}

// report reports what is wrong with the value at path in the file.
func (d *decoder) report(path, format string, args ...any) {
	d.invalid(d.root, "", path, fmt.Sprintf(format, args...))
}

// key reports what is wrong with a name in the section at path.
func (d *decoder) key(path, name, format string, args ...any) {
	if e := find(d.root, path).get(name); e != nil {
		d.problems.add(e.pos, format, args...)
	}
}

// file checks what the frame says, and what its sections say of each other.
func (d *decoder) file(c *Config) {
	if e := d.root.get("store"); e == nil || e.value.kind == null && !e.value.broken {
		d.value(&node{kind: section, pos: d.root.pos}, reflect.ValueOf(&c.Store).Elem(), "store", 0)
	}
	d.names("functions", slices.Collect(maps.Keys(c.Functions)))
	d.names("triggers", slices.Collect(maps.Keys(c.Triggers)))
	d.names("destinations", slices.Collect(maps.Keys(c.Destinations)))
	for _, name := range slices.Sorted(maps.Keys(c.Functions)) {
		d.async(c, name, c.Functions[name].Async)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Triggers)) {
		t, path := c.Triggers[name], "triggers."+name
		if t.Function == "" {
			d.report(path+".function", "function is missing; known: %s", strings.Join(slices.Sorted(maps.Keys(c.Functions)), ", "))
		} else {
			d.function(c, path+".function", t.Function)
		}
		d.calls(c, path, t.With)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		d.calls(c, "destinations."+name, c.Destinations[name].With)
	}
	d.patterns(c)
	d.concurrency(c)
	d.listen(c)
	d.security(c)
	d.rest(c)
}

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)

func (d *decoder) names(family string, names []string) {
	for _, name := range names {
		if !nameForm.MatchString(name) {
			d.key(family, name, "%q is not a name; use 1 to 64 letters, digits, hyphens and underscores", clip(name))
		}
	}
}

// function checks that the function called name exists.
func (d *decoder) function(c *Config, path, name string) {
	if d.lacks(c, name) {
		d.report(path, "%s", unknown("function", name, slices.Collect(maps.Keys(c.Functions))))
	}
}

// lacks says whether there is no function called name, as far as the files could be read.
func (d *decoder) lacks(c *Config, name string) bool {
	_, ok := c.Functions[name]
	return !ok && !d.partial && !d.bad["functions"]
}

// caller is the configuration of a component that calls functions by name.
type caller interface{ Functions() []string }

func (d *decoder) calls(c *Config, path string, with any) {
	if w, ok := with.(caller); ok {
		for _, name := range w.Functions() {
			if name != "" && d.lacks(c, name) { // that a name is missing is the kind's to report
				d.function(c, d.mention(path+".with", name), name)
			}
		}
	}
}

// mention is the path of the first scalar below path that is text, or path.
func (d *decoder) mention(path, text string) string {
	var look func(n *node, path string, depth int) string
	look = func(n *node, path string, depth int) string {
		if n.kind == scalar && n.text == text {
			return path
		}
		if depth > 8 {
			return ""
		}
		for i, item := range n.items {
			if at := look(item, fmt.Sprintf("%s[%d]", path, i), depth+1); at != "" {
				return at
			}
		}
		for _, e := range n.entries {
			if at := look(e.value, join(path, e.key), depth+1); at != "" {
				return at
			}
		}
		return ""
	}
	if at := look(find(d.root, path), path, 0); at != "" {
		return at
	}
	return path
}

// Bounds of Async. AWS allows two retries and six hours.
const (
	maxRetries = 100
	minAge     = time.Minute
	maxAge     = 14 * 24 * time.Hour
	maxDelay   = 24 * time.Hour
)

func (d *decoder) async(c *Config, name string, a Async) {
	path := "functions." + name + ".async"
	if a.MaximumRetryAttempts < 0 || a.MaximumRetryAttempts > maxRetries {
		d.report(path+".maximumRetryAttempts", "maximumRetryAttempts: want 0 to %d, have %d", maxRetries, a.MaximumRetryAttempts)
	}
	if a.MaximumConcurrency < 1 || a.MaximumConcurrency > 10000 {
		d.report(path+".maximumConcurrency", "maximumConcurrency: want 1 to 10000, have %d", a.MaximumConcurrency)
	}
	if a.MaximumEventAge < minAge || a.MaximumEventAge > maxAge {
		d.report(path+".maximumEventAge", "maximumEventAge: want 60s to 336h, have %s", a.MaximumEventAge)
	}
	if len(a.RetryDelays) == 0 {
		d.report(path+".retryDelays", "retryDelays: want at least one delay; for no retries set maximumRetryAttempts: 0")
	}
	for i, delay := range a.RetryDelays {
		if delay < 0 || delay > maxDelay {
			d.report(fmt.Sprintf("%s.retryDelays[%d]", path, i), "retryDelays[%d]: want 0s to 24h, have %s", i, delay)
		}
	}
	d.targets(c, name, path+".onSuccess", a.OnSuccess)
	d.targets(c, name, path+".onFailure", a.OnFailure)
}

func (d *decoder) targets(c *Config, function, path string, names Names) {
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", path, i)
		dest, ok := c.Destinations[name]
		switch {
		case slices.Contains(names[:i], name):
			d.report(at, "%q is listed twice", name)
		case !ok && !d.partial && !d.bad["destinations"]:
			d.report(at, "%s", unknown("destination", name, slices.Collect(maps.Keys(c.Destinations))))
		case ok:
			if w, ok := dest.With.(caller); ok && slices.Contains(w.Functions(), function) {
				d.report(at, "destination %q runs function %q again, without end; use another function", name, function)
			}
		}
	}
}

// mounter is the configuration of a source that serves HTTP on the gateway.
type mounter interface{ Patterns() []string }

// patterns finds triggers that want the same place on the gateway.
func (d *decoder) patterns(c *Config) {
	type mount struct {
		trigger string
		pos     Position
	}
	mounts := map[string]mount{}
	for _, e := range find(d.root, "triggers").entries {
		name, t := e.key, c.Triggers[e.key]
		m, ok := t.With.(mounter)
		if !ok || !t.Enabled || d.isBad("triggers."+name+".with") {
			continue
		}
		for _, p := range m.Patterns() {
			host, path, _ := strings.Cut(p, "/")
			key := strings.ToLower(host) + "/" + path
			if o, taken := mounts[key]; taken && o.trigger != name {
				d.report(d.mention("triggers."+name+".with", p), "%q is taken by trigger %q at %s", p, o.trigger, o.pos)
				continue
			}
			mounts[key] = mount{name, e.pos}
		}
	}
}

func (d *decoder) isBad(path string) bool {
	for bad := range d.bad {
		if within(bad, path) || within(path, bad) {
			return true
		}
	}
	return false
}

// concurrency checks that the reservations leave something to the functions without one.
func (d *decoder) concurrency(c *Config) {
	if c.Concurrency < 1 {
		d.report("concurrency", "concurrency: want at least 1, have %d", c.Concurrency)
		return
	}
	reserved, free := 0, ""
	for _, name := range slices.Sorted(maps.Keys(c.Functions)) {
		s, ok := c.Functions[name].With.(interface{ Settings() executor.Settings })
		if !ok {
			continue
		}
		if n := s.Settings().Reserved; n == executor.Unreserved {
			free = name
		} else {
			reserved += n
		}
	}
	switch {
	case reserved > c.Concurrency:
		d.report("concurrency", "the functions reserve a concurrency of %d, more than the %d that there are; raise concurrency", reserved, c.Concurrency)
	case reserved == c.Concurrency && free != "":
		d.report("concurrency", "the functions reserve all the concurrency, %d, and leave none to %q; raise concurrency", reserved, free)
	}
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func (d *decoder) listen(c *Config) {
	seen := map[string]string{}
	for _, l := range []struct {
		name string
		addr *string
	}{{"gateway", &c.Listen.Gateway}, {"aws", &c.Listen.AWS}, {"admin", &c.Listen.Admin}} {
		if *l.addr == "off" {
			*l.addr = ""
		}
		if *l.addr == "" {
			continue
		}
		host, port, err := net.SplitHostPort(*l.addr)
		_, portErr := strconv.ParseUint(port, 10, 16)
		_, ipErr := netip.ParseAddr(host)
		switch {
		case err != nil || portErr != nil || host != "" && ipErr != nil && !hostForm.MatchString(host):
			d.report("listen."+l.name, `%s: %q is not an address; write host:port such as 127.0.0.1:8080, or "off"`, l.name, clip(*l.addr))
			d.bad["listen."+l.name] = true
		case seen[*l.addr] != "" && port != "0":
			d.report("listen."+l.name, "%s: %s has the same address", l.name, seen[*l.addr])
		default:
			seen[*l.addr] = l.name
		}
	}
}

// Loopback says whether only this machine can reach a host:port.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (d *decoder) security(c *Config) {
	s := c.Security
	if (s.TLS.Certificate == "") != (s.TLS.Key == "") {
		d.report("security.tls", "tls: want both certificate and key")
	}
	for _, id := range slices.Sorted(maps.Keys(s.Keys)) {
		if id == "" || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/,=", r) }) {
			d.key("security.keys", id, "%q is not an access key id", clip(id))
		} else if s.Keys[id] == "" {
			d.key("security.keys", id, "the secret of %q is empty", clip(id))
		}
	}
	for _, l := range []struct {
		name, addr, need string
		have             bool
	}{
		{"aws", c.Listen.AWS, "keys", len(s.Keys) > 0},
		{"admin", c.Listen.Admin, "token", s.Token != ""},
	} {
		if l.addr == "" || Loopback(l.addr) || d.isBad("security") {
			continue
		}
		var want []string
		if !l.have {
			want = append(want, "security."+l.need)
		}
		if s.TLS.Certificate == "" && !s.Insecure {
			want = append(want, "security.tls (or security.insecure: true)")
		}
		if len(want) > 0 {
			d.report("listen."+l.name, "%s: other machines can reach %s; set %s, or listen on 127.0.0.1", l.name, l.addr, strings.Join(want, " and "))
		}
	}
}

var (
	regionForm  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	headerForm  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

func (d *decoder) rest(c *Config) {
	if c.Data == "" {
		d.report("data", "data: want a folder, have nothing")
	}
	if !regionForm.MatchString(c.AWS.Region) {
		d.report("aws.region", "region: %q is not a region; write one such as us-east-1", clip(c.AWS.Region))
	}
	if !accountForm.MatchString(c.AWS.Account) {
		d.report("aws.account", "account: want twelve digits, have %q", clip(c.AWS.Account))
	}
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, c.Log.Level) {
		d.report("log.level", "%s", unknown("level", c.Log.Level, levels))
	}
	if c.Stack != nil {
		if known := []string{"warn", "enforce", "ignore"}; c.Stack.Policies == "" {
			c.Stack.Policies = known[0]
		} else if !slices.Contains(known, c.Stack.Policies) {
			d.report("stack.policies", "%s", unknown("treatment", c.Stack.Policies, known))
		}
		if off := c.Listen.AWS; off == "" || off == "off" {
			d.report("stack", "the stack is served at listen.aws, which is off")
		}
		if c.Stack.Dir != "" {
			c.Stack.Dir = c.Path(c.Stack.Dir)
		}
	}
	if formats := []string{"text", "json"}; !slices.Contains(formats, c.Log.Format) {
		d.report("log.format", "%s", unknown("format", c.Log.Format, formats))
	}
	if e := c.Tracing.Endpoint; e != "" {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			d.report("tracing.endpoint", "endpoint: want a URL such as http://127.0.0.1:4318, have %q", clip(e))
		}
	}
	if r := c.Tracing.SampleRatio; r < 0 || r > 1 {
		d.report("tracing.sampleRatio", "sampleRatio: want 0 to 1, have %g", r)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tracing.Headers)) {
		if v := string(c.Tracing.Headers[name]); !headerForm.MatchString(name) || strings.ContainsAny(v, "\r\n\x00") {
			d.key("tracing.headers", name, "%q is not a header of one line", clip(name))
		}
	}
	if t := c.Shutdown.Timeout; t < 0 || t > 24*time.Hour {
		d.report("shutdown.timeout", "timeout: want 0s to 24h, have %s", t)
	}
}
