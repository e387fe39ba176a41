// Package logs is as much of CloudWatch Logs as it takes to let event buses write to log groups, and to read them
// back: groups with retention, streams, and their events by time
// (https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/Welcome.html). Filter patterns, queries,
// subscriptions and metrics are not here.
package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Service holds the log groups of all accounts and regions. Its methods may be called concurrently.
type Service struct {
	env env.Env

	mu     sync.Mutex // not held while the disk is waited for
	places map[place]map[string]*group
}

// place is where a log group lives.
type place struct{ account, region string }

func home(r *wire.Request) place { return place{r.Account, r.Region} }

// group is a log group.
type group struct {
	place `json:"-"`

	Name    string
	Created int64 // milliseconds, as all times here
	Days    int   // that events are kept; 0 is for ever
	Tags    map[string]string

	streams map[string]*stream
}

func (g *group) arn() string {
	return "arn:aws:logs:" + g.region + ":" + g.account + ":log-group:" + g.Name
}

// stream is a log stream.
type stream struct {
	Name     string
	Created  int64
	Ingested int64 // last

	events []logged // by time, then number
	next   int64    // number of the next event
}

// logged is an event of a stream.
type logged struct {
	Number   int64 `json:"-"`
	At       int64 // that the event says
	Ingested int64
	Message  string
}

// Keys separate names by a byte that is in none of them.
func (g *group) keys(kind string) string {
	return "logs/" + kind + "/" + g.account + "/" + g.region + "/" + g.Name
}
func (g *group) streamKey(name string) string { return g.keys("stream") + "\x00" + name }
func (g *group) eventKeys(name string) string { return g.keys("event") + "\x00" + name + "\x00" }
func (g *group) eventKey(name string, number int64) string {
	return fmt.Sprintf("%s%020d", g.eventKeys(name), number)
}

// New makes the service from what the store remembers.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e, places: map[place]map[string]*group{}}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("logs: %w", err)
	}
	return s, nil
}

// API describes the service's operations.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name: "logs", Target: "Logs_20140328", JSONVersion: "1.1",
		Throttled: wire.Error{Code: "ThrottlingException", Message: "Rate exceeded"},
		Operations: []wire.Operation{
			wire.Op("CreateLogGroup", s.createLogGroup),
			wire.Op("DeleteLogGroup", s.deleteLogGroup),
			wire.Op("DescribeLogGroups", s.describeLogGroups),
			wire.Op("PutRetentionPolicy", s.putRetentionPolicy),
			wire.Op("DeleteRetentionPolicy", s.deleteRetentionPolicy),
			wire.Op("ListTagsForResource", s.listTagsForResource),
			wire.Op("TagResource", s.tagResource),
			wire.Op("UntagResource", s.untagResource),
			wire.Op("CreateLogStream", s.createLogStream),
			wire.Op("DeleteLogStream", s.deleteLogStream),
			wire.Op("DescribeLogStreams", s.describeLogStreams),
			wire.Op("PutLogEvents", s.putLogEvents),
			wire.Op("GetLogEvents", s.getLogEvents),
			wire.Op("FilterLogEvents", s.filterLogEvents),
		},
	}}
}

// Reset forgets everything.
func (s *Service) Reset() {
	s.mu.Lock()
	s.places = map[place]map[string]*group{}
	var b store.Batch
	b.DeletePrefix("logs/")
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		s.env.Log.Error("logs are not forgotten on the disk", slog.Any("error", err))
	}
}

// Deliver writes a message to the log group that an ARN names. The stream is named after the sender. The attribute
// "timestamp", in milliseconds, says when it was; without it, that is now.
func (s *Service) Deliver(_ context.Context, groupARN string, m env.Message) error {
	parts := strings.SplitN(groupARN, ":", 7)
	if len(parts) < 7 || parts[2] != "logs" || parts[5] != "log-group" {
		return invalid("%s is not the ARN of a log group.", groupARN)
	}
	name := strings.TrimSuffix(parts[6], ":*")
	if m.Body == "" {
		return invalid("A log event must have a message.")
	}
	at := s.env.Clock.Now().UnixMilli()
	if a, ok := m.Attributes["timestamp"]; ok {
		var err error
		if at, err = strconv.ParseInt(a.String, 10, 64); err != nil {
			return invalid("The timestamp %q is not a number of milliseconds.", a.String)
		}
	}
	return s.change(func(b *store.Batch) error {
		g := s.places[place{parts[4], parts[3]}][name]
		if g == nil {
			return noGroup()
		}
		id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(m.From)).String()
		x := g.streams[id]
		if x == nil {
			x = &stream{Name: id, Created: s.env.Clock.Now().UnixMilli()}
			g.streams[id] = x
		}
		return s.append(b, g, x, []logged{{At: at, Message: m.Body}})
	})
}

// append adds events to a stream. The caller holds the lock.
func (s *Service) append(b *store.Batch, g *group, x *stream, events []logged) error {
	now := s.env.Clock.Now().UnixMilli()
	x.Ingested = now
	for _, e := range events {
		e.Number, e.Ingested = x.next, now
		x.next++
		i, _ := slices.BinarySearchFunc(x.events, e, logged.compare)
		x.events = slices.Insert(x.events, i, e)
		if err := s.env.Store.SetJSON(b, g.eventKey(x.Name, e.Number), e); err != nil {
			return err
		}
	}
	s.expire(b, g)
	return s.env.Store.SetJSON(b, g.streamKey(x.Name), x)
}

func (e logged) compare(o logged) int {
	return cmp.Or(cmp.Compare(e.At, o.At), cmp.Compare(e.Number, o.Number))
}

// size is what an event counts for, in bytes.
func (e logged) size() int64 { return int64(len(e.Message)) + overhead }

// oldest is the time before which a group keeps nothing.
func (g *group) oldest(now time.Time) int64 {
	if g.Days == 0 {
		return 0
	}
	return now.Add(-time.Duration(g.Days) * 24 * time.Hour).UnixMilli()
}

// expire drops the events that a group has kept long enough. The caller holds the lock.
func (s *Service) expire(b *store.Batch, g *group) {
	oldest := g.oldest(s.env.Clock.Now())
	for _, x := range g.streams {
		n := 0
		for n < len(x.events) && x.events[n].At < oldest {
			b.Delete(g.eventKey(x.Name, x.events[n].Number))
			n++
		}
		x.events = slices.Delete(x.events, 0, n)
	}
}

// change runs f under the lock and then waits for what it has put in line for the disk. An error of f is the
// request's; f must not have changed anything then.
func (s *Service) change(f func(b *store.Batch) error) error {
	var b store.Batch
	s.mu.Lock()
	err := f(&b)
	var c store.Commit
	if err == nil {
		c = s.env.Store.Commit(&b)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return c.Wait()
}

// look runs f under the lock, with what has expired gone.
func (s *Service) look(r *wire.Request, f func(groups map[string]*group) error) error {
	return s.change(func(b *store.Batch) error {
		groups := s.places[home(r)]
		for _, g := range groups {
			s.expire(b, g)
		}
		return f(groups)
	})
}

// load reads what the store remembers.
func (s *Service) load() error {
	for _, kind := range []struct {
		prefix string
		read   func(p place, names []string, value []byte) error
	}{{"logs/group/", s.loadGroup}, {"logs/stream/", s.loadStream}, {"logs/event/", s.loadEvent}} {
		err := s.env.Store.Load(kind.prefix, func(key string, value []byte) error {
			parts := strings.SplitN(strings.TrimPrefix(key, kind.prefix), "/", 3)
			if len(parts) < 3 {
				return fmt.Errorf("the key %q is not one of ours", key)
			}
			if err := kind.read(place{parts[0], parts[1]}, strings.Split(parts[2], "\x00"), value); err != nil {
				return fmt.Errorf("reading %q: %w", key, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, groups := range s.places {
		for _, g := range groups {
			for _, x := range g.streams {
				slices.SortFunc(x.events, logged.compare)
			}
		}
	}
	return nil
}

func (s *Service) loadGroup(p place, _ []string, value []byte) error {
	g := &group{place: p, streams: map[string]*stream{}}
	if err := json.Unmarshal(value, g); err != nil {
		return err
	}
	s.add(g)
	return nil
}

func (s *Service) add(g *group) {
	if s.places[g.place] == nil {
		s.places[g.place] = map[string]*group{}
	}
	s.places[g.place][g.Name] = g
}

var errParent = errors.New("what it belongs to is not there")

func (s *Service) loadStream(p place, names []string, value []byte) error {
	g := s.places[p][names[0]]
	if g == nil {
		return errParent
	}
	x := &stream{}
	if err := json.Unmarshal(value, x); err != nil {
		return err
	}
	g.streams[x.Name] = x
	return nil
}

func (s *Service) loadEvent(p place, names []string, value []byte) error {
	g := s.places[p][names[0]]
	if g == nil || len(names) != 3 || g.streams[names[1]] == nil {
		return errParent
	}
	var e logged
	if err := json.Unmarshal(value, &e); err != nil {
		return err
	}
	var err error
	if e.Number, err = strconv.ParseInt(names[2], 10, 64); err != nil {
		return fmt.Errorf("its number cannot be read: %w", err)
	}
	x := g.streams[names[1]]
	x.events = append(x.events, e)
	x.next = max(x.next, e.Number+1)
	return nil
}

func invalid(format string, args ...any) error {
	return wire.Errorf("InvalidParameterException", format, args...)
}

func noGroup() error {
	return wire.Errorf("ResourceNotFoundException", "The specified log group does not exist.")
}

func noStream() error {
	return wire.Errorf("ResourceNotFoundException", "The specified log stream does not exist.")
}

// check is wire.Check with errors in the form of Logs, and what this service checks often.
type check struct{ wire.Check }

var (
	groupPattern  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]+$`)
	streamPattern = regexp.MustCompile(`^[^:*]*$`)
)

// Err is nil if all is well.
func (c *check) Err() error {
	err := c.Check.Err()
	var e *wire.Error
	if errors.As(err, &e) {
		return invalid("%s", e.Message)
	}
	return err
}

func (c *check) group(member string, v *string, required bool) string {
	return c.text(member, v, required, groupPattern, `[\.\-_/#A-Za-z0-9]+`)
}

func (c *check) stream(member string, v *string, required bool) string {
	return c.text(member, v, required, streamPattern, `[^:*]*`)
}

func (c *check) text(member string, v *string, required bool, re *regexp.Regexp, shown string) string {
	if required {
		c.Required(member, v != nil)
	}
	if v == nil {
		return ""
	}
	c.Pattern(member, *v, re, shown)
	c.Length(member, *v, 1, 512)
	return *v
}

// limit checks how many results are asked for.
func (c *check) limit(v *int64, most int64) int {
	if v == nil {
		return int(most)
	}
	c.Range("limit", *v, 1, most)
	return int(*v)
}

func badToken(error) error { return invalid("The specified nextToken is invalid.") }

// sorted returns the values of a map in the order of their names.
func sorted[T any](m map[string]T, keep func(name string, v T) bool) []T {
	var list []T
	for _, n := range slices.Sorted(maps.Keys(m)) {
		if keep(n, m[n]) {
			list = append(list, m[n])
		}
	}
	return list
}

// named returns the group of a request, which names it or gives its ARN.
func named(r *wire.Request, groups map[string]*group, name, identifier *string) (*group, error) {
	switch {
	case name != nil && identifier != nil:
		return nil, invalid("LogGroupName and LogGroupIdentifier cannot be given together.")
	case name == nil && identifier == nil:
		return nil, invalid("LogGroupName or LogGroupIdentifier must be given.")
	case identifier != nil:
		text := strings.TrimSuffix(strings.TrimPrefix(*identifier, "arn:aws:logs:"+r.Region+":"+r.Account+":log-group:"), ":*")
		name = &text
	}
	if g := groups[*name]; g != nil {
		return g, nil
	}
	return nil, noGroup()
}
