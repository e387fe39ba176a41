package scheduler

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/cron"
	"github.com/millrace/millrace/stack/outbox"
	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

const (
	enabled  = "ENABLED"
	disabled = "DISABLED"
	off      = "OFF"
	flexible = "FLEXIBLE"
	none     = "NONE"
	remove   = "DELETE"
)

// oldStart is how long ago a recurring schedule may begin.
const oldStart = 5 * time.Minute

// definition is what a client says of a schedule, with AWS's defaults in the place of what it has left out.
type definition struct {
	Expression  string
	Zone        string
	Start, End  time.Time // zero if there is none
	State       string
	Action      string // after completion
	Description string
	Window      int64 // minutes; 0 is OFF
	Target      Target
}

// schedule is a schedule. It is replaced as a whole when it is updated.
type schedule struct {
	place `json:"-"`
	definition

	Group, Name       string
	Token             string // of the request that made it
	Created, Modified time.Time
	Begin             time.Time // from which a rate counts if it has no start
	Last              time.Time // every run up to here has been accepted

	expression   cron.Expression
	zone         *time.Location
	kind         kind
	run, planned time.Time // the next run and when it is to happen; zero if there is none
}

func (x *schedule) arn() string { return x.place.arn("schedule/" + x.Group + "/" + x.Name) }
func (x *schedule) key() string {
	return "scheduler/schedule/" + x.account + "/" + x.region + "/" + x.Group + "/" + x.Name
}
func (x *schedule) id() scheduleKey { return scheduleKey{x.place, x.Group, x.Name} }

// compile reads what the schedule's texts mean.
func (x *schedule) compile() error {
	var err error
	if x.expression, err = cron.Parse(x.Expression, cron.Scheduler); err != nil {
		return invalid("Invalid Schedule Expression %s.", x.Expression)
	}
	if x.zone, err = cron.Zone(x.Zone); err != nil {
		return invalid("Invalid ScheduleExpressionTimezone %s.", x.Zone)
	}
	x.kind, err = x.Target.compile(x.region)
	return err
}

type window struct {
	MaximumWindowInMinutes *int64  `json:"MaximumWindowInMinutes,omitzero"`
	Mode                   *string `json:"Mode"`
}

type scheduleInput struct {
	Name                       string     `json:"-" path:"Name"`
	ActionAfterCompletion      *string    `json:"ActionAfterCompletion"`
	ClientToken                *string    `json:"ClientToken"`
	Description                *string    `json:"Description"`
	EndDate                    *wire.Time `json:"EndDate"`
	FlexibleTimeWindow         *window    `json:"FlexibleTimeWindow"`
	GroupName                  *string    `json:"GroupName"`
	KmsKeyArn                  *string    `json:"KmsKeyArn"`
	ScheduleExpression         *string    `json:"ScheduleExpression"`
	ScheduleExpressionTimezone *string    `json:"ScheduleExpressionTimezone"`
	StartDate                  *wire.Time `json:"StartDate"`
	State                      *string    `json:"State"`
	Target                     *Target    `json:"Target"`
}

func (in *scheduleInput) check() error {
	var c check
	text := func(member string, v *string, low, high int) {
		if v != nil {
			c.Length(member, *v, low, high)
		}
	}
	c.name("name", &in.Name)
	c.name("groupName", in.GroupName)
	c.token(in.ClientToken)
	text("description", in.Description, 0, 512)
	c.Required("scheduleExpression", in.ScheduleExpression != nil)
	text("scheduleExpression", in.ScheduleExpression, 1, 256)
	text("scheduleExpressionTimezone", in.ScheduleExpressionTimezone, 1, 50)
	if in.State != nil {
		c.Enum("state", *in.State, enabled, disabled)
	}
	if in.ActionAfterCompletion != nil {
		c.Enum("actionAfterCompletion", *in.ActionAfterCompletion, none, remove)
	}
	c.Required("flexibleTimeWindow", in.FlexibleTimeWindow != nil)
	if w := in.FlexibleTimeWindow; w != nil {
		c.Required("flexibleTimeWindow.mode", w.Mode != nil)
		if w.Mode != nil {
			c.Enum("flexibleTimeWindow.mode", *w.Mode, off, flexible)
		}
		if w.MaximumWindowInMinutes != nil {
			c.Range("flexibleTimeWindow.maximumWindowInMinutes", *w.MaximumWindowInMinutes, 1, 1440)
		}
	}
	c.Required("target", in.Target != nil)
	if in.Target != nil {
		in.Target.check(&c)
	}
	return c.Err()
}

// schedule makes the schedule that a request describes.
func (in *scheduleInput) schedule(p place, now time.Time) (*schedule, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.KmsKeyArn != nil {
		return nil, invalid("KmsKeyArn is not supported: millrace's local stack does not encrypt.")
	}
	x := &schedule{place: p, Group: value(in.GroupName, defaultGroup), Name: in.Name, Token: value(in.ClientToken, ""),
		Created: now, Modified: now, Begin: now, Last: now.Add(-1),
		definition: definition{Expression: *in.ScheduleExpression, Zone: value(in.ScheduleExpressionTimezone, "UTC"), State: value(in.State, enabled),
			Action: value(in.ActionAfterCompletion, none), Description: value(in.Description, ""), Target: *in.Target}}
	w := in.FlexibleTimeWindow
	switch {
	case *w.Mode == off && w.MaximumWindowInMinutes != nil:
		return nil, invalid("MaximumWindowInMinutes must not be provided when FlexibleTimeWindowMode is set to OFF.")
	case *w.Mode == flexible && w.MaximumWindowInMinutes == nil:
		return nil, invalid("MaximumWindowInMinutes must be provided when FlexibleTimeWindowMode is set to FLEXIBLE.")
	case *w.Mode == flexible:
		x.Window = *w.MaximumWindowInMinutes
	}
	policy := retryPolicy{}
	if x.Target.RetryPolicy != nil {
		policy = *x.Target.RetryPolicy
	}
	age, attempts := int64(outbox.MaxAge.Seconds()), int64(outbox.MaxRetries)
	x.Target.RetryPolicy = &retryPolicy{MaximumEventAgeInSeconds: &age, MaximumRetryAttempts: &attempts}
	if policy.MaximumEventAgeInSeconds != nil {
		x.Target.RetryPolicy.MaximumEventAgeInSeconds = policy.MaximumEventAgeInSeconds
	}
	if policy.MaximumRetryAttempts != nil {
		x.Target.RetryPolicy.MaximumRetryAttempts = policy.MaximumRetryAttempts
	}
	if in.StartDate != nil {
		x.Start = in.StartDate.Time
	}
	if in.EndDate != nil {
		x.End = in.EndDate.Time
	}
	if err := x.compile(); err != nil {
		return nil, err
	}
	if !x.Start.IsZero() && !x.End.IsZero() && !x.Start.Before(x.End) {
		return nil, invalid("The StartDate you specify must come before the EndDate.")
	}
	return x, nil
}

type scheduleOutput struct {
	ScheduleArn string `json:"ScheduleArn"`
}

func noSchedule(name string) error { return notFound("Schedule %s does not exist.", name) }

func (s *Service) createSchedule(_ context.Context, r *wire.Request, in *scheduleInput) (*scheduleOutput, error) {
	now := s.env.Clock.Now()
	x, err := in.schedule(home(r), now)
	if err != nil {
		return nil, err
	}
	if !cron.IsOnce(x.expression) && !x.Start.IsZero() && x.Start.Before(now.Add(-oldStart)) {
		return nil, invalid("The StartDate you specify cannot be earlier than 5 minutes ago.")
	}
	err = s.change(func(b *store.Batch) error {
		g := s.at(home(r))[x.Group]
		if g == nil {
			return noGroup(x.Group)
		}
		if old := g.schedules[x.Name]; old != nil {
			if x.Token != "" && x.Token == old.Token && reflect.DeepEqual(x.definition, old.definition) {
				return nil // the same request again
			}
			return conflict("Schedule %s already exists.", x.Name)
		}
		if err := s.env.Store.SetJSON(b, x.key(), x); err != nil {
			return err
		}
		g.schedules[x.Name] = x
		s.arm(x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{ScheduleArn: x.arn()}, nil
}

func (s *Service) updateSchedule(_ context.Context, r *wire.Request, in *scheduleInput) (*scheduleOutput, error) {
	x, err := in.schedule(home(r), s.env.Clock.Now())
	if err != nil {
		return nil, err
	}
	err = s.change(func(b *store.Batch) error {
		g := s.at(home(r))[x.Group]
		if g == nil {
			return noGroup(x.Group)
		}
		old := g.schedules[x.Name]
		if old == nil {
			return noSchedule(x.Name)
		}
		x.Created, x.Token = old.Created, old.Token
		if x.Expression == old.Expression && x.Zone == old.Zone && x.Start.Equal(old.Start) && x.End.Equal(old.End) && x.State == old.State {
			x.Begin, x.Last = old.Begin, old.Last // its times are not touched
		}
		if err := s.env.Store.SetJSON(b, x.key(), x); err != nil {
			return err
		}
		g.schedules[x.Name] = x
		s.arm(x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &scheduleOutput{ScheduleArn: x.arn()}, nil
}

type nameInput struct {
	Name        string  `json:"-" path:"Name"`
	GroupName   *string `json:"-" uri:"groupName"`
	ClientToken *string `json:"-" uri:"clientToken"`
}

func (in *nameInput) check() error {
	var c check
	c.name("name", &in.Name)
	c.name("groupName", in.GroupName)
	c.token(in.ClientToken)
	return c.Err()
}

type getScheduleOutput struct {
	ActionAfterCompletion      string     `json:"ActionAfterCompletion"`
	Arn                        string     `json:"Arn"`
	CreationDate               wire.Time  `json:"CreationDate"`
	Description                string     `json:"Description,omitzero"`
	EndDate                    *wire.Time `json:"EndDate,omitzero"`
	FlexibleTimeWindow         window     `json:"FlexibleTimeWindow"`
	GroupName                  string     `json:"GroupName"`
	LastModificationDate       wire.Time  `json:"LastModificationDate"`
	Name                       string     `json:"Name"`
	ScheduleExpression         string     `json:"ScheduleExpression"`
	ScheduleExpressionTimezone string     `json:"ScheduleExpressionTimezone"`
	StartDate                  *wire.Time `json:"StartDate,omitzero"`
	State                      string     `json:"State"`
	Target                     Target     `json:"Target"`
}

func date(t time.Time) *wire.Time {
	if t.IsZero() {
		return nil
	}
	return &wire.Time{Time: t}
}

func (s *Service) getSchedule(_ context.Context, r *wire.Request, in *nameInput) (*getScheduleOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.at(home(r))[value(in.GroupName, defaultGroup)]
	if g == nil {
		return nil, noGroup(*in.GroupName)
	}
	x := g.schedules[in.Name]
	if x == nil {
		return nil, noSchedule(in.Name)
	}
	mode := off
	out := &getScheduleOutput{ActionAfterCompletion: x.Action, Arn: x.arn(), CreationDate: wire.Time{Time: x.Created}, Description: x.Description,
		EndDate: date(x.End), GroupName: x.Group, LastModificationDate: wire.Time{Time: x.Modified}, Name: x.Name, ScheduleExpression: x.Expression,
		ScheduleExpressionTimezone: x.Zone, StartDate: date(x.Start), State: x.State, Target: x.Target}
	if x.Window > 0 {
		mode = flexible
		out.FlexibleTimeWindow.MaximumWindowInMinutes = &x.Window
	}
	out.FlexibleTimeWindow.Mode = &mode
	return out, nil
}

func (s *Service) deleteSchedule(_ context.Context, r *wire.Request, in *nameInput) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return &struct{}{}, s.change(func(b *store.Batch) error {
		g := s.at(home(r))[value(in.GroupName, defaultGroup)]
		if g == nil {
			return noGroup(*in.GroupName)
		}
		x := g.schedules[in.Name]
		if x == nil {
			if s.again(r, in.ClientToken) {
				return nil
			}
			return noSchedule(in.Name)
		}
		delete(g.schedules, in.Name)
		s.alarm.Stop(x.id())
		b.Delete(x.key())
		s.remember(r, in.ClientToken)
		return nil
	})
}

type listSchedulesInput struct {
	GroupName  *string `json:"-" uri:"ScheduleGroup"`
	MaxResults *int64  `json:"-" uri:"MaxResults"`
	NamePrefix *string `json:"-" uri:"NamePrefix"`
	NextToken  string  `json:"-" uri:"NextToken"`
	State      *string `json:"-" uri:"State"`
}

type listSchedulesOutput struct {
	NextToken string            `json:"NextToken,omitzero"`
	Schedules []scheduleSummary `json:"Schedules"`
}

type scheduleSummary struct {
	Arn                  string        `json:"Arn"`
	CreationDate         wire.Time     `json:"CreationDate"`
	GroupName            string        `json:"GroupName"`
	LastModificationDate wire.Time     `json:"LastModificationDate"`
	Name                 string        `json:"Name"`
	State                string        `json:"State"`
	Target               targetSummary `json:"Target"`
}

type targetSummary struct {
	Arn string `json:"Arn"`
}

// listSchedules lists the schedules of one group, or of all, in the order of their groups and names.
func (s *Service) listSchedules(_ context.Context, r *wire.Request, in *listSchedulesInput) (*listSchedulesOutput, error) {
	var c check
	limit := c.limit(in.MaxResults)
	c.name("groupName", in.GroupName)
	c.name("namePrefix", in.NamePrefix)
	if in.State != nil {
		c.Enum("state", *in.State, enabled, disabled)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	groups := s.at(home(r))
	if in.GroupName != nil && groups[*in.GroupName] == nil {
		return nil, noGroup(*in.GroupName)
	}
	all := map[string]*schedule{}
	for _, g := range groups {
		for _, x := range g.schedules {
			all[g.Name+"/"+x.Name] = x
		}
	}
	wanted := sorted(all, func(_ string, x *schedule) bool {
		return (in.GroupName == nil || x.Group == *in.GroupName) && strings.HasPrefix(x.Name, value(in.NamePrefix, "")) && (in.State == nil || x.State == *in.State)
	})
	list, next, err := page.Of(wanted, func(x *schedule) string { return x.Group + "/" + x.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listSchedulesOutput{NextToken: next, Schedules: make([]scheduleSummary, 0, len(list))}
	for _, x := range list {
		out.Schedules = append(out.Schedules, scheduleSummary{Arn: x.arn(), CreationDate: wire.Time{Time: x.Created}, GroupName: x.Group,
			LastModificationDate: wire.Time{Time: x.Modified}, Name: x.Name, State: x.State, Target: targetSummary{Arn: *x.Target.Arn}})
	}
	return out, nil
}
