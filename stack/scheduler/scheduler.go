// Package scheduler is EventBridge Scheduler: one-time and recurring schedules, in groups, with their targets
// (https://docs.aws.amazon.com/scheduler/latest/APIReference/Welcome.html). There are no roles: a schedule acts by its
// target's role, and what that must be allowed on AWS is allowed. The policies of queues and topics are not asked.
package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
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

// defaultGroup is there in every account and region.
const defaultGroup = "default"

// Service holds the schedules of all accounts and regions. Its methods may be called concurrently.
type Service struct {
	env    env.Env
	outbox *outbox.Outbox
	alarm  *alarm.Alarm[scheduleKey]
	born   time.Time // of the default groups

	mu      sync.RWMutex // not held while a message is delivered or the disk is waited for
	places  map[place]map[string]*group
	deleted map[string]time.Time // by the token of the request, and when
}

// place is where a resource lives.
type place struct{ account, region string }

func (p place) arn(resource string) string {
	return "arn:aws:scheduler:" + p.region + ":" + p.account + ":" + resource
}

func home(r *wire.Request) place { return place{r.Account, r.Region} }

// scheduleKey names a schedule of all places.
type scheduleKey struct {
	place
	group, name string
}

// New makes the service from what the store remembers. Runs that a stopped stack has missed are made up if they are
// no older than their schedules' retry policies permit.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e, born: e.Clock.Now(), places: map[place]map[string]*group{}, deleted: map[string]time.Time{}}
	s.alarm = alarm.New(e.Clock, e.Go, s.ring)
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	var err error
	if s.outbox, err = outbox.New(e, outbox.Options{Prefix: "scheduler/outbox/", Message: attempt, Letter: letter}); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	s.resume()
	return s, nil
}

// API describes the service's operations.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name:      "scheduler",
		Throttled: *refuse("ThrottlingException", http.StatusTooManyRequests, "Rate exceeded"),
		Operations: []wire.Operation{
			wire.Op("CreateSchedule", s.createSchedule).At("POST /schedules/{Name}"),
			wire.Op("GetSchedule", s.getSchedule).At("GET /schedules/{Name}"),
			wire.Op("UpdateSchedule", s.updateSchedule).At("PUT /schedules/{Name}"),
			wire.Op("DeleteSchedule", s.deleteSchedule).At("DELETE /schedules/{Name}"),
			wire.Op("ListSchedules", s.listSchedules).At("GET /schedules"),
			wire.Op("CreateScheduleGroup", s.createGroup).At("POST /schedule-groups/{Name}"),
			wire.Op("GetScheduleGroup", s.getGroup).At("GET /schedule-groups/{Name}"),
			wire.Op("DeleteScheduleGroup", s.deleteGroup).At("DELETE /schedule-groups/{Name}"),
			wire.Op("ListScheduleGroups", s.listGroups).At("GET /schedule-groups"),
			wire.Op("ListTagsForResource", s.listTags).At("GET /tags/{ResourceArn+}"),
			wire.Op("TagResource", s.tag).At("POST /tags/{ResourceArn+}"),
			wire.Op("UntagResource", s.untag).At("DELETE /tags/{ResourceArn+}"),
		},
	}}
}

// Reset forgets everything.
func (s *Service) Reset() {
	s.mu.Lock()
	s.alarm.Clear()
	s.outbox.Reset()
	s.places = map[place]map[string]*group{}
	clear(s.deleted)
	s.born = s.env.Clock.Now()
	var b store.Batch
	b.DeletePrefix("scheduler/")
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		s.env.Log.Error("schedules are not forgotten on the disk", slog.Any("error", err))
	}
}

// at returns the groups of a place, of which the default one always is there. The caller holds the lock for writing.
func (s *Service) at(p place) map[string]*group {
	groups := s.places[p]
	if groups == nil {
		groups = map[string]*group{defaultGroup: {place: p, Name: defaultGroup, Created: s.born, Modified: s.born, schedules: map[string]*schedule{}}}
		s.places[p] = groups
	}
	return groups
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

// load reads what the store remembers. The keys are those of the key methods.
func (s *Service) load() error {
	err := s.env.Store.Load("scheduler/group/", func(key string, value []byte) error {
		p, _, err := parseKey(key)
		g := &group{place: p, schedules: map[string]*schedule{}}
		if err == nil {
			err = json.Unmarshal(value, g)
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		s.at(p)[g.Name] = g
		return nil
	})
	if err != nil {
		return err
	}
	return s.env.Store.Load("scheduler/schedule/", func(key string, value []byte) error {
		p, _, err := parseKey(key)
		x := &schedule{place: p}
		if err == nil {
			err = json.Unmarshal(value, x)
		}
		if err == nil {
			err = x.compile()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		g := s.at(p)[x.Group]
		if g == nil {
			return fmt.Errorf("reading %s: its group is not there", key)
		}
		g.schedules[x.Name] = x
		return nil
	})
}

// parseKey reads "scheduler/<kind>/<account>/<region>/<rest>".
func parseKey(key string) (p place, rest string, err error) {
	parts := strings.SplitN(key, "/", 5)
	if len(parts) < 5 {
		return place{}, "", errors.New("the key is not one of ours")
	}
	return place{parts[2], parts[3]}, parts[4], nil
}

// refuse makes an error in Scheduler's form, whose message has a large initial.
func refuse(code string, status int, format string, args ...any) *wire.Error {
	text := fmt.Sprintf(format, args...)
	return &wire.Error{Code: code, Message: text, Status: status, Members: map[string]any{"Message": text}}
}

func invalid(format string, args ...any) error {
	return refuse("ValidationException", http.StatusBadRequest, format, args...)
}

func notFound(format string, args ...any) error {
	return refuse("ResourceNotFoundException", http.StatusNotFound, format, args...)
}

func conflict(format string, args ...any) error {
	return refuse("ConflictException", http.StatusConflict, format, args...)
}

// check is wire.Check with errors in Scheduler's form, and what this service checks often.
type check struct{ wire.Check }

var (
	namePattern  = regexp.MustCompile(`^[0-9a-zA-Z-_.]+$`)
	tokenPattern = regexp.MustCompile(`^[a-zA-Z0-9-_]+$`)
)

// Err is nil if all is well.
func (c *check) Err() error {
	err := c.Check.Err()
	var e *wire.Error
	if errors.As(err, &e) {
		return refuse(e.Code, http.StatusBadRequest, "%s", e.Message)
	}
	return err
}

// name checks a name that may be absent.
func (c *check) name(member string, v *string) {
	if v != nil {
		c.Pattern(member, *v, namePattern, "^[0-9a-zA-Z-_.]+$")
		c.Length(member, *v, 1, 64)
	}
}

func (c *check) token(v *string) {
	if v != nil {
		c.Pattern("clientToken", *v, tokenPattern, "^[a-zA-Z0-9-_]+$")
		c.Length("clientToken", *v, 1, 64)
	}
}

// limit checks how many results are asked for.
func (c *check) limit(v *int64) int {
	if v == nil {
		return 100
	}
	c.Range("maxResults", *v, 1, 100)
	return int(*v)
}

func badToken(error) error { return invalid("Invalid NextToken.") }

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

func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// tokenLife is how long a repeated deletion is recognized by its token.
const tokenLife = time.Hour

// again reports whether a deletion with this token has been made. The caller holds the lock.
func (s *Service) again(r *wire.Request, token *string) bool {
	if token == nil {
		return false
	}
	at, ok := s.deleted[r.Account+" "+r.Region+" "+r.Operation+" "+*token]
	return ok && s.env.Clock.Now().Sub(at) < tokenLife
}

// remember keeps the token of a deletion. The caller holds the lock.
func (s *Service) remember(r *wire.Request, token *string) {
	now := s.env.Clock.Now()
	maps.DeleteFunc(s.deleted, func(_ string, at time.Time) bool { return now.Sub(at) >= tokenLife })
	if token != nil {
		s.deleted[r.Account+" "+r.Region+" "+r.Operation+" "+*token] = now
	}
}
