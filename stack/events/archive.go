package events

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// archive keeps the events of a bus.
type archive struct {
	place `json:"-"`

	Name        string
	Source      string // the bus's ARN
	Description string `json:",omitzero"`
	Pattern     string `json:",omitzero"`
	Days        int64  // that an event is kept; 0 is for ever
	Created     time.Time

	pattern *router.Pattern
	events  []archived // in the order in which they were kept
	size    int64
	next    uint64 // number of the next event
	gone    bool   // deleted
}

// archived is an event in an archive.
type archived struct {
	Number uint64    `json:"-"`
	At     time.Time // that the event says
	Kept   time.Time
	Doc    string
}

func (a *archive) arn() string { return a.place.arn("archive/" + a.Name) }
func (a *archive) key() string {
	return "events/archive/" + a.account + "/" + a.region + "/" + a.Name
}

// eventKeys is how the keys of the archive's events begin.
func (a *archive) eventKeys() string {
	return "events/archived/" + a.account + "/" + a.region + "/" + a.Name + "/"
}

func (a *archive) eventKey(number uint64) string {
	return fmt.Sprintf("%s%020d", a.eventKeys(), number)
}

func (a *archive) compile() error {
	a.pattern = nil
	if a.Pattern == "" {
		return nil
	}
	var err error
	a.pattern, err = compilePattern(a.Pattern)
	return err
}

// add appends an event, and puts what changes into the batch.
func (a *archive) add(e *inflight, b *store.Batch, durable bool) error {
	x := archived{Number: a.next, At: e.at, Kept: e.ingested, Doc: string(e.doc)}
	a.next++
	a.events = append(a.events, x)
	a.size += int64(len(x.Doc))
	if !durable {
		return nil
	}
	value, err := json.Marshal(x)
	if err != nil {
		return fmt.Errorf("encoding an event of the archive %s: %w", a.Name, err)
	}
	b.Set(a.eventKey(x.Number), value)
	return nil
}

// expire drops what is older than the archive keeps.
func (a *archive) expire(now time.Time, b *store.Batch) {
	if a.Days == 0 {
		return
	}
	n := 0
	for _, x := range a.events {
		if now.Sub(x.Kept) < time.Duration(a.Days)*24*time.Hour {
			break
		}
		a.size -= int64(len(x.Doc))
		b.Delete(a.eventKey(x.Number))
		n++
	}
	if n > 0 {
		a.events = append([]archived(nil), a.events[n:]...)
	}
}

// between returns the events of a span of time, in the order of their times.
func (a *archive) between(start, end time.Time) []archived {
	var list []archived
	for _, x := range a.events {
		if !x.At.Before(start) && !x.At.After(end) {
			list = append(list, x)
		}
	}
	slices.SortStableFunc(list, func(a, b archived) int { return a.At.Compare(b.At) })
	return list
}

// keep adds an event to archives, and waits for the disk.
func (s *Service) keep(archives []*archive, e *inflight) error {
	var b store.Batch
	s.mu.Lock()
	for _, a := range archives {
		if a.gone {
			continue
		}
		a.expire(e.ingested, &b)
		if err := a.add(e, &b, s.env.Store.Durable()); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	return c.Wait()
}

// expire drops what the archives of a place have kept long enough. The caller holds the lock.
func (s *Service) expire(c *contents) {
	var b store.Batch
	for _, a := range c.archives {
		a.expire(s.env.Clock.Now(), &b)
	}
	s.env.Store.Commit(&b) // not waited for: what is lost of it expires again
}

// changedArchives makes the buses of a place look at their archives anew.
func (c *contents) changedArchives() {
	for _, b := range c.buses {
		b.matcher = nil
	}
}

var anyPattern = regexp.MustCompile(`^.*$`)

type archiveInput struct {
	ArchiveName      *string `json:"ArchiveName"`
	EventSourceArn   *string `json:"EventSourceArn"`
	Description      *string `json:"Description"`
	EventPattern     *string `json:"EventPattern"`
	RetentionDays    *int64  `json:"RetentionDays"`
	KmsKeyIdentifier *string `json:"KmsKeyIdentifier"`
}

func (in *archiveInput) check(c *check) (name string, err error) {
	name = c.name("archiveName", in.ArchiveName, namePattern, nameShown, 48)
	if in.Description != nil {
		c.Pattern("description", *in.Description, anyPattern, ".*")
		c.Length("description", *in.Description, 0, 512)
	}
	c.text("eventPattern", in.EventPattern, 0, 4096)
	if in.RetentionDays != nil {
		c.Range("retentionDays", *in.RetentionDays, 0, 1<<31-1)
	}
	if err := c.Err(); err != nil {
		return "", err
	}
	if in.KmsKeyIdentifier != nil && *in.KmsKeyIdentifier != "" {
		return "", invalid("KmsKeyIdentifier", "millrace's local stack does not encrypt.")
	}
	return name, nil
}

// set gives the archive what a request names.
func (in *archiveInput) set(a *archive) error {
	if in.Description != nil {
		a.Description = *in.Description
	}
	if in.EventPattern != nil {
		a.Pattern = *in.EventPattern
	}
	if in.RetentionDays != nil {
		a.Days = *in.RetentionDays
	}
	return a.compile()
}

type archiveOutput struct {
	ArchiveArn   string    `json:"ArchiveArn"`
	State        string    `json:"State"`
	CreationTime wire.Time `json:"CreationTime"`
}

func (a *archive) output() *archiveOutput {
	return &archiveOutput{ArchiveArn: a.arn(), State: enabled, CreationTime: wire.Time{Time: a.Created}}
}

func (s *Service) createArchive(_ context.Context, r *wire.Request, in *archiveInput) (*archiveOutput, error) {
	var c check
	c.Required("eventSourceArn", in.EventSourceArn != nil)
	if in.EventSourceArn != nil {
		c.Pattern("eventSourceArn", *in.EventSourceArn, resourcePattern, resourceShown)
		c.Length("eventSourceArn", *in.EventSourceArn, 1, 1600)
	}
	name, err := in.check(&c)
	if err != nil {
		return nil, err
	}
	var out *archiveOutput
	err = s.change(func() (string, any, error) {
		b, err := s.bus(r, *in.EventSourceArn)
		if err != nil {
			return "", nil, err
		}
		here := s.at(b.place)
		if here.archives[name] != nil {
			return "", nil, wire.Errorf("ResourceAlreadyExistsException", "Archive %s already exists.", name)
		}
		a := &archive{place: b.place, Name: name, Source: b.arn(), Created: s.env.Clock.Now()}
		if err := in.set(a); err != nil {
			return "", nil, err
		}
		here.archives[name] = a
		here.changedArchives()
		out = a.output()
		return a.key(), a, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func noArchive(name string) error {
	return wire.Errorf("ResourceNotFoundException", "Archive %s does not exist.", name)
}

func (s *Service) updateArchive(_ context.Context, r *wire.Request, in *archiveInput) (*archiveOutput, error) {
	var c check
	name, err := in.check(&c)
	if err != nil {
		return nil, err
	}
	var out *archiveOutput
	err = s.change(func() (string, any, error) {
		here := s.at(home(r))
		a := here.archives[name]
		if a == nil {
			return "", nil, noArchive(name)
		}
		changed := *a
		if err := in.set(&changed); err != nil {
			return "", nil, err
		}
		a.Description, a.Pattern, a.Days, a.pattern = changed.Description, changed.Pattern, changed.Days, changed.pattern
		here.changedArchives()
		out = a.output()
		return a.key(), a, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type archiveNameInput struct {
	ArchiveName *string `json:"ArchiveName"`
}

type archiveSummary struct {
	ArchiveName    string    `json:"ArchiveName"`
	EventSourceArn string    `json:"EventSourceArn"`
	State          string    `json:"State"`
	RetentionDays  int64     `json:"RetentionDays"`
	SizeBytes      int64     `json:"SizeBytes"`
	EventCount     int       `json:"EventCount"`
	CreationTime   wire.Time `json:"CreationTime"`
}

func (a *archive) summary() archiveSummary {
	return archiveSummary{ArchiveName: a.Name, EventSourceArn: a.Source, State: enabled, RetentionDays: a.Days, SizeBytes: a.size,
		EventCount: len(a.events), CreationTime: wire.Time{Time: a.Created}}
}

type describeArchiveOutput struct {
	archiveSummary
	ArchiveArn   string  `json:"ArchiveArn"`
	Description  *string `json:"Description,omitzero"`
	EventPattern *string `json:"EventPattern,omitzero"`
}

func (s *Service) describeArchive(_ context.Context, r *wire.Request, in *archiveNameInput) (*describeArchiveOutput, error) {
	var c check
	name := c.name("archiveName", in.ArchiveName, namePattern, nameShown, 48)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	here := s.at(home(r))
	a := here.archives[name]
	if a == nil {
		return nil, noArchive(name)
	}
	s.expire(here)
	return &describeArchiveOutput{archiveSummary: a.summary(), ArchiveArn: a.arn(), Description: ptr(a.Description), EventPattern: ptr(a.Pattern)}, nil
}

type listArchivesInput struct {
	NamePrefix     *string `json:"NamePrefix"`
	EventSourceArn *string `json:"EventSourceArn"`
	State          *string `json:"State"`
	NextToken      string  `json:"NextToken"`
	Limit          *int64  `json:"Limit"`
}

type listArchivesOutput struct {
	Archives  []archiveSummary `json:"Archives"`
	NextToken string           `json:"NextToken,omitzero"`
}

func (s *Service) listArchives(_ context.Context, r *wire.Request, in *listArchivesInput) (*listArchivesOutput, error) {
	var c check
	prefix := c.prefix(in.NamePrefix, namePattern, nameShown, 48)
	if in.State != nil {
		c.Enum("state", *in.State, enabled, disabled, "CREATING", "UPDATING", "CREATE_FAILED", "UPDATE_FAILED")
	}
	limit := c.limit(in.Limit)
	if err := c.Err(); err != nil {
		return nil, err
	}
	if filters(in.NamePrefix, in.EventSourceArn, in.State) > 1 {
		return nil, wire.Errorf("ValidationException", "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	here := s.at(home(r))
	s.expire(here)
	all := sorted(here.archives, func(name string, a *archive) bool {
		return strings.HasPrefix(name, prefix) && (in.EventSourceArn == nil || a.Source == *in.EventSourceArn) && (in.State == nil || *in.State == enabled)
	})
	list, next, err := page.Of(all, func(a *archive) string { return a.Name }, in.NextToken, limit)
	if err != nil {
		return nil, badToken(err)
	}
	out := &listArchivesOutput{Archives: make([]archiveSummary, 0, len(list)), NextToken: next}
	for _, a := range list {
		out.Archives = append(out.Archives, a.summary())
	}
	return out, nil
}

// filters counts those that are given.
func filters(list ...*string) int {
	n := 0
	for _, f := range list {
		if f != nil {
			n++
		}
	}
	return n
}

func (s *Service) deleteArchive(_ context.Context, r *wire.Request, in *archiveNameInput) (*struct{}, error) {
	var c check
	name := c.name("archiveName", in.ArchiveName, namePattern, nameShown, 48)
	if err := c.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	here := s.at(home(r))
	a := here.archives[name]
	if a == nil {
		s.mu.Unlock()
		return nil, noArchive(name)
	}
	a.gone = true
	delete(here.archives, name)
	here.changedArchives()
	var b store.Batch
	b.Delete(a.key())
	b.DeletePrefix(a.eventKeys())
	commit := s.env.Store.Commit(&b)
	s.mu.Unlock()
	return &struct{}{}, commit.Wait()
}
