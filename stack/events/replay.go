package events

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// maxReplays is how many may be under way in an account and region.
const maxReplays = 10

// States of a replay.
const (
	starting   = "STARTING"
	running    = "RUNNING"
	cancelling = "CANCELLING"
	cancelled  = "CANCELLED"
	completed  = "COMPLETED"
	failed     = "FAILED"
)

// replay sends what is in an archive to the rules of its bus again.
type replay struct {
	place `json:"-"`

	Name        string
	Description string `json:",omitzero"`
	Archive     string // ARN
	Bus         string // ARN
	Filters     []string
	Start, End  time.Time // of the events
	State       string
	Reason      string    `json:",omitzero"`
	Begun       time.Time // when it was started
	Ended       time.Time `json:",omitzero"`
	Last        time.Time `json:",omitzero"` // time of the last event that was replayed
}

func (x *replay) arn() string { return x.place.arn("replay/" + x.Name) }
func (x *replay) key() string { return "events/replay/" + x.account + "/" + x.region + "/" + x.Name }

func (x *replay) active() bool {
	return x.State == starting || x.State == running || x.State == cancelling
}

// stop ends a replay that is under way. The caller holds the lock.
func (x *replay) stop() {
	if x.active() {
		x.State = cancelling
	}
}

type destination struct {
	Arn        *string  `json:"Arn,omitzero"`
	FilterArns []string `json:"FilterArns,omitzero"`
}

type startReplayInput struct {
	ReplayName     *string      `json:"ReplayName"`
	Description    *string      `json:"Description"`
	EventSourceArn *string      `json:"EventSourceArn"`
	EventStartTime *wire.Time   `json:"EventStartTime"`
	EventEndTime   *wire.Time   `json:"EventEndTime"`
	Destination    *destination `json:"Destination"`
}

type startReplayOutput struct {
	ReplayArn       string    `json:"ReplayArn"`
	State           string    `json:"State"`
	ReplayStartTime wire.Time `json:"ReplayStartTime"`
}

func (in *startReplayInput) check() (*replay, error) {
	var c check
	x := &replay{Name: c.name("replayName", in.ReplayName, namePattern, nameShown, 64), State: starting}
	if in.Description != nil {
		c.Pattern("description", *in.Description, anyPattern, ".*")
		x.Description = c.text("description", in.Description, 0, 512)
	}
	c.Required("eventSourceArn", in.EventSourceArn != nil)
	if in.EventSourceArn != nil {
		c.Pattern("eventSourceArn", *in.EventSourceArn, resourcePattern, resourceShown)
		x.Archive = c.text("eventSourceArn", in.EventSourceArn, 1, 1600)
	}
	c.Required("eventStartTime", in.EventStartTime != nil)
	c.Required("eventEndTime", in.EventEndTime != nil)
	c.Required("destination", in.Destination != nil)
	if in.Destination != nil {
		c.Required("destination.arn", in.Destination.Arn != nil)
		x.Bus = c.text("destination.arn", in.Destination.Arn, 1, 1600)
		x.Filters = in.Destination.FilterArns
		for i, a := range x.Filters {
			c.Length(fmt.Sprintf("destination.filterArns.%d.member", i+1), a, 1, 1600)
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	x.Start, x.End = in.EventStartTime.Time, in.EventEndTime.Time
	return x, nil
}

func (s *Service) startReplay(_ context.Context, r *wire.Request, in *startReplayInput) (*startReplayOutput, error) {
	x, err := in.check()
	if err != nil {
		return nil, err
	}
	if _, _, ok := parseBus(x.Bus); !ok {
		return nil, invalid("Destination.Arn", "Must contain an event bus ARN.")
	}
	err = s.change(func() (string, any, error) {
		b, err := s.bus(r, x.Bus)
		if err != nil {
			return "", nil, err
		}
		here := s.at(b.place)
		_, name, _ := strings.Cut(x.Archive, ":archive/")
		a := here.archives[name]
		switch {
		case a == nil || a.arn() != x.Archive:
			if name == "" {
				name = x.Archive[strings.LastIndex(x.Archive, "/")+1:]
			}
			return "", nil, invalid("EventSourceArn", "Archive %s does not exist.", name)
		case a.Source != x.Bus:
			return "", nil, invalid("Destination.Arn", "Cross event bus replay is not permitted.")
		case !x.Start.Before(x.End):
			return "", nil, invalid("EventEndTime", "EventStartTime must be before EventEndTime.")
		case here.replays[x.Name] != nil:
			return "", nil, wire.Errorf("ResourceAlreadyExistsException", "Replay %s already exists.", x.Name)
		}
		for _, f := range x.Filters {
			known := false
			for _, rule := range b.rules {
				known = known || rule.arn() == f
			}
			if !known {
				return "", nil, invalid("Destination.FilterArns", "%s is not a rule of the event bus %s.", f, b.Name)
			}
		}
		active := 0
		for _, other := range here.replays {
			if other.active() {
				active++
			}
		}
		if active >= maxReplays {
			return "", nil, wire.Errorf("LimitExceededException", "The requested resource exceeds the maximum number allowed.")
		}
		x.place, x.Begun = b.place, s.env.Clock.Now()
		here.replays[x.Name] = x
		return x.key(), x, nil
	})
	if err != nil {
		return nil, err
	}
	out := &startReplayOutput{ReplayArn: x.arn(), State: starting, ReplayStartTime: wire.Time{Time: x.Begun}}
	s.env.Go(func(ctx context.Context) { s.replay(ctx, x) })
	return out, nil
}

// replay does what a replay is for. One that a restart has cut off begins again.
func (s *Service) replay(ctx context.Context, x *replay) {
	s.mu.Lock()
	var list []archived
	here := s.at(x.place)
	_, archiveName, _ := strings.Cut(x.Archive, ":archive/")
	if a := here.archives[archiveName]; a != nil {
		s.expire(here)
		list = a.between(x.Start, x.End)
	}
	if x.State == starting {
		x.State = running
	}
	s.mu.Unlock()
	_, bus, _ := parseBus(x.Bus)
	state, reason := completed, ""
	for _, old := range list {
		s.mu.Lock()
		stop := x.State == cancelling
		s.mu.Unlock()
		if stop {
			break
		}
		err := s.again(ctx, x, bus, old)
		if ctx.Err() != nil {
			return // the stack closes; the replay begins again when it starts
		}
		if err != nil {
			state, reason = failed, err.Error()
			s.env.Log.Error("a replay failed", slog.String("replay", x.arn()), slog.Any("error", err))
			break
		}
		s.mu.Lock()
		x.Last = old.At
		s.mu.Unlock()
	}
	s.mu.Lock()
	var c store.Commit
	var err error
	if s.at(x.place).replays[x.Name] == x { // else all has been forgotten
		if x.State == cancelling {
			state = cancelled
		}
		x.State, x.Reason, x.Ended = state, reason, s.env.Clock.Now()
		c, err = s.commit(x.key(), x)
	}
	s.mu.Unlock()
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		s.env.Log.Error("after a restart a replay may run again", slog.String("replay", x.arn()), slog.Any("error", err))
	}
}

// again puts an archived event onto its bus once more.
func (s *Service) again(ctx context.Context, x *replay, bus string, old archived) error {
	var v envelope
	if err := json.Unmarshal([]byte(old.Doc), &v, jsontext.AllowDuplicateNames(true)); err != nil {
		return fmt.Errorf("reading an archived event: %w", err)
	}
	m, _, ok := s.matcherOf(x.place, bus)
	if !ok {
		return noBus(bus)
	}
	doc := event.AppendEventBridge(nil, &event.EventBridge{ID: v.ID, DetailType: v.DetailType, Source: v.Source, Account: v.Account,
		Region: v.Region, Time: v.Time, Resources: v.Resources, ReplayName: x.Name, Detail: v.Detail})
	return s.dispatch(ctx, m, &inflight{doc: doc, id: v.ID, source: v.Source, detailType: v.DetailType, at: old.At,
		ingested: s.env.Clock.Now(), replayed: true, only: x.Filters})
}

type replayNameInput struct {
	ReplayName *string `json:"ReplayName"`
}

type replaySummary struct {
	ReplayName            string    `json:"ReplayName"`
	EventSourceArn        string    `json:"EventSourceArn"`
	State                 string    `json:"State"`
	StateReason           *string   `json:"StateReason,omitzero"`
	EventStartTime        wire.Time `json:"EventStartTime"`
	EventEndTime          wire.Time `json:"EventEndTime"`
	EventLastReplayedTime wire.Time `json:"EventLastReplayedTime,omitzero"`
	ReplayStartTime       wire.Time `json:"ReplayStartTime"`
	ReplayEndTime         wire.Time `json:"ReplayEndTime,omitzero"`
}

func (x *replay) summary() replaySummary {
	at := func(t time.Time) wire.Time { return wire.Time{Time: t} }
	return replaySummary{ReplayName: x.Name, EventSourceArn: x.Archive, State: x.State, StateReason: ptr(x.Reason), EventStartTime: at(x.Start),
		EventEndTime: at(x.End), EventLastReplayedTime: at(x.Last), ReplayStartTime: at(x.Begun), ReplayEndTime: at(x.Ended)}
}

type describeReplayOutput struct {
	replaySummary
	ReplayArn   string      `json:"ReplayArn"`
	Description *string     `json:"Description,omitzero"`
	Destination destination `json:"Destination"`
}

func noReplay(name string) error {
	return wire.Errorf("ResourceNotFoundException", "Replay %s does not exist.", name)
}

func (s *Service) describeReplay(_ context.Context, r *wire.Request, in *replayNameInput) (*describeReplayOutput, error) {
	var c check
	name := c.name("replayName", in.ReplayName, namePattern, nameShown, 64)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.at(home(r)).replays[name]
	if x == nil {
		return nil, noReplay(name)
	}
	return &describeReplayOutput{replaySummary: x.summary(), ReplayArn: x.arn(), Description: ptr(x.Description),
		Destination: destination{Arn: &x.Bus, FilterArns: x.Filters}}, nil
}

type listReplaysInput struct {
	NamePrefix     *string `json:"NamePrefix"`
	State          *string `json:"State"`
	EventSourceArn *string `json:"EventSourceArn"`
	NextToken      string  `json:"NextToken"`
	Limit          *int64  `json:"Limit"`
}

type listReplaysOutput struct {
	Replays   []replaySummary `json:"Replays"`
	NextToken string          `json:"NextToken,omitzero"`
}

func (s *Service) listReplays(_ context.Context, r *wire.Request, in *listReplaysInput) (*listReplaysOutput, error) {
	var c check
	prefix := c.prefix(in.NamePrefix, namePattern, nameShown, 64)
	if in.State != nil {
		c.Enum("state", *in.State, starting, running, cancelling, completed, cancelled, failed)
	}
	limit := c.limit(in.Limit)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if filters(in.NamePrefix, in.EventSourceArn, in.State) > 1 {
		return nil, wire.Errorf("ValidationException", "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := sorted(s.at(home(r)).replays, func(name string, x *replay) bool {
		return strings.HasPrefix(name, prefix) && (in.State == nil || x.State == *in.State) && (in.EventSourceArn == nil || x.Archive == *in.EventSourceArn)
	})
	list, next, err := page.Of(all, func(x *replay) string { return x.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listReplaysOutput{Replays: make([]replaySummary, 0, len(list)), NextToken: next}
	for _, x := range list {
		out.Replays = append(out.Replays, x.summary())
	}
	return out, nil
}

type cancelReplayOutput struct {
	ReplayArn string `json:"ReplayArn"`
	State     string `json:"State"`
}

func (s *Service) cancelReplay(_ context.Context, r *wire.Request, in *replayNameInput) (*cancelReplayOutput, error) {
	var c check
	name := c.name("replayName", in.ReplayName, namePattern, nameShown, 64)
	if err := c.Err(); err != nil {
		return nil, err
	}
	var out *cancelReplayOutput
	err := s.change(func() (string, any, error) {
		x := s.at(home(r)).replays[name]
		switch {
		case x == nil:
			return "", nil, noReplay(name)
		case x.State != starting && x.State != running:
			return "", nil, wire.Errorf("IllegalStatusException", "Replay %s is not in a valid state for this operation.", name)
		}
		x.stop()
		out = &cancelReplayOutput{ReplayArn: x.arn(), State: x.State}
		return x.key(), x, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
