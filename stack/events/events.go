// Package events is EventBridge: buses, rules with patterns and schedules, their targets, archives and replays
// (https://docs.aws.amazon.com/eventbridge/latest/APIReference/Welcome.html). Partner event sources, API
// destinations, connections and global endpoints are not here, and neither are roles: what a target's role must be
// allowed on AWS is allowed.
package events

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/alarm"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/outbox"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// principal is whom a resource's policy must let in.
const principal = "events.amazonaws.com"

// defaultBus is there in every account and region.
const defaultBus = "default"

// Service holds the buses of all accounts and regions. Its methods may be called concurrently.
type Service struct {
	env    env.Env
	outbox *outbox.Outbox
	alarm  *alarm.Alarm[ruleKey]
	born   time.Time // of the default buses

	mu     sync.RWMutex // not held while a message is delivered or the disk is waited for
	places map[place]*contents
}

// place is where a resource lives.
type place struct{ account, region string }

// contents are the resources of a place.
type contents struct {
	place
	buses    map[string]*bus
	archives map[string]*archive
	replays  map[string]*replay
}

// ruleKey names a rule of all places.
type ruleKey struct {
	place
	bus, rule string
}

func (p place) arn(resource string) string {
	return "arn:aws:events:" + p.region + ":" + p.account + ":" + resource
}

// New makes the service from what the store remembers.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e, born: e.Clock.Now(), places: map[place]*contents{}}
	s.alarm = alarm.New(e.Clock, e.Go, s.ring)
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	var err error
	if s.outbox, err = outbox.New(e, outbox.Options{Prefix: "events/outbox/", Letter: letter}); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	s.resume()
	return s, nil
}

// API describes the service's operations.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name: "events", Target: "AWSEvents", JSONVersion: "1.1",
		Throttled: wire.Error{Code: "ThrottlingException", Message: "Rate exceeded"},
		Operations: []wire.Operation{
			wire.Op("CreateEventBus", s.createEventBus),
			wire.Op("UpdateEventBus", s.updateEventBus),
			wire.Op("DescribeEventBus", s.describeEventBus),
			wire.Op("DeleteEventBus", s.deleteEventBus),
			wire.Op("ListEventBuses", s.listEventBuses),
			wire.Op("PutPermission", s.putPermission),
			wire.Op("RemovePermission", s.removePermission),
			wire.Op("PutRule", s.putRule),
			wire.Op("DescribeRule", s.describeRule),
			wire.Op("ListRules", s.listRules),
			wire.Op("ListRuleNamesByTarget", s.listRuleNamesByTarget),
			wire.Op("EnableRule", s.enableRule),
			wire.Op("DisableRule", s.disableRule),
			wire.Op("DeleteRule", s.deleteRule),
			wire.Op("PutTargets", s.putTargets),
			wire.Op("RemoveTargets", s.removeTargets),
			wire.Op("ListTargetsByRule", s.listTargetsByRule),
			wire.Op("PutEvents", s.putEvents).Twice(),
			wire.Op("TestEventPattern", s.testEventPattern),
			wire.Op("CreateArchive", s.createArchive),
			wire.Op("UpdateArchive", s.updateArchive),
			wire.Op("DescribeArchive", s.describeArchive),
			wire.Op("ListArchives", s.listArchives),
			wire.Op("DeleteArchive", s.deleteArchive),
			wire.Op("StartReplay", s.startReplay),
			wire.Op("DescribeReplay", s.describeReplay),
			wire.Op("ListReplays", s.listReplays),
			wire.Op("CancelReplay", s.cancelReplay),
			wire.Op("ListTagsForResource", s.listTagsForResource),
			wire.Op("TagResource", s.tagResource),
			wire.Op("UntagResource", s.untagResource),
		},
	}}
}

// Reset forgets everything.
func (s *Service) Reset() {
	s.mu.Lock()
	s.alarm.Clear()
	s.outbox.Reset()
	for _, c := range s.places {
		for _, r := range c.replays {
			r.stop()
		}
		for _, a := range c.archives {
			a.gone = true
		}
	}
	s.places = map[place]*contents{}
	s.born = s.env.Clock.Now()
	var b store.Batch
	b.DeletePrefix("events/")
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		s.env.Log.Error("events are not forgotten on the disk", slog.Any("error", err))
	}
}

// at returns what is in a place; a default bus always is. The caller holds the lock for writing.
func (s *Service) at(p place) *contents {
	c := s.places[p]
	if c == nil {
		c = &contents{place: p, buses: map[string]*bus{}, archives: map[string]*archive{}, replays: map[string]*replay{}}
		c.buses[defaultBus] = &bus{place: p, Name: defaultBus, Created: s.born, Modified: s.born, rules: map[string]*rule{}}
		s.places[p] = c
	}
	return c
}

func home(r *wire.Request) place { return place{r.Account, r.Region} }

// noBus is said of a bus that is not there.
func noBus(name string) error {
	return wire.Errorf("ResourceNotFoundException", "Event bus %s does not exist.", name)
}

// bus returns the bus that a request names by its name or ARN; none is the default bus. A bus of another account or
// region is not found. The caller holds the lock for writing.
func (s *Service) bus(r *wire.Request, nameOrARN string) (*bus, error) {
	name := cmp.Or(nameOrARN, defaultBus)
	if strings.HasPrefix(name, "arn:") {
		p, n, ok := parseBus(name)
		if !ok || p != home(r) {
			return nil, noBus(cmp.Or(n, name))
		}
		name = n
	}
	if b := s.at(home(r)).buses[name]; b != nil {
		return b, nil
	}
	return nil, noBus(name)
}

// parseBus reads a bus's ARN.
func parseBus(arn string) (p place, name string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[2] != "events" {
		return place{}, "", false
	}
	name, ok = strings.CutPrefix(parts[5], "event-bus/")
	return place{parts[4], parts[3]}, name, ok && name != ""
}

// Patterns of names, and how AWS words them.
var (
	busNamePattern  = regexp.MustCompile(`^[/.\-_A-Za-z0-9]+$`)
	namePattern     = regexp.MustCompile(`^[.\-_A-Za-z0-9]+$`)
	nameOrARN       = regexp.MustCompile(`^(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus/)?[/.\-_A-Za-z0-9]+$`)
	resourcePattern = regexp.MustCompile(`^arn:aws([a-z]|-)*:events:([a-z]|\d|-)*:([0-9]{12})?:.+/.+$`)
)

const (
	busNameShown   = `[/\.\-_A-Za-z0-9]+`
	nameShown      = `[\.\-_A-Za-z0-9]+`
	nameOrARNShown = `(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[/\.\-_A-Za-z0-9]+`
	resourceShown  = `^arn:aws([a-z]|\-)*:events:([a-z]|\d|\-)*:([0-9]{12})?:.+\/.+$`
)

// check is wire.Check with what this service checks often.
type check struct{ wire.Check }

// name checks a required name of a bus, rule, archive or replay.
func (c *check) name(member string, v *string, re *regexp.Regexp, shown string, most int) string {
	c.Required(member, v != nil)
	if v == nil {
		return ""
	}
	c.Pattern(member, *v, re, shown)
	c.Length(member, *v, 1, most)
	return *v
}

// bus checks an optional name or ARN of a bus.
func (c *check) bus(member string, v *string) string {
	if v == nil {
		return ""
	}
	return c.name(member, v, nameOrARN, nameOrARNShown, 1600)
}

// text checks an optional text.
func (c *check) text(member string, v *string, low, high int) string {
	if v == nil {
		return ""
	}
	c.Length(member, *v, low, high)
	return *v
}

// limit checks how many results are asked for.
func (c *check) limit(v *int64) int {
	if v == nil {
		return 100
	}
	c.Range("limit", *v, 1, 100)
	return int(*v)
}

// prefix checks an optional beginning of names.
func (c *check) prefix(v *string, re *regexp.Regexp, shown string, most int) string {
	if v == nil {
		return ""
	}
	return c.name("namePrefix", v, re, shown, most)
}

// invalid says that a parameter is not valid, and why, in EventBridge's form.
func invalid(parameter, reason string, args ...any) error {
	return wire.Errorf("ValidationException", "Parameter %s is not valid. Reason: %s", parameter, fmt.Sprintf(reason, args...))
}

// commit puts the change of one key in line for the disk; a nil value removes it. The caller holds the lock, and
// waits for the commit once it has released it.
func (s *Service) commit(key string, value any) (store.Commit, error) {
	if !s.env.Store.Durable() {
		return store.Commit{}, nil
	}
	var b store.Batch
	if value == nil {
		b.Delete(key)
	} else {
		data, err := json.Marshal(value)
		if err != nil {
			return store.Commit{}, fmt.Errorf("encoding %s: %w", key, err)
		}
		b.Set(key, data)
	}
	return s.env.Store.Commit(&b), nil
}

// change runs f under the lock and then waits for what it has put in line. An error of f is the request's; f must
// not have changed anything then.
func (s *Service) change(f func() (key string, value any, err error)) error {
	s.mu.Lock()
	key, value, err := f()
	var c store.Commit
	if err == nil && key != "" {
		c, err = s.commit(key, value)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return c.Wait()
}

// sorted returns the values of a map in the order of their names.
func sorted[T any](m map[string]T, keep func(name string, v T) bool) []T {
	names := make([]string, 0, len(m))
	for n, v := range m {
		if keep(n, v) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	list := make([]T, len(names))
	for i, n := range names {
		list[i] = m[n]
	}
	return list
}

// badToken is said of a NextToken that was not handed out.
func badToken(error) error { return wire.Errorf("ValidationException", "Invalid token.") }

func ptr[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Deliver puts an event that another service, or a rule of another bus, has made onto a bus. The message's body is
// the whole document.
func (s *Service) Deliver(ctx context.Context, busARN string, m env.Message) error {
	return s.receive(ctx, busARN, m)
}
