package logs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of PutLogEvents
// (https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html).
const (
	overhead  = 26      // bytes that an event counts for besides its message
	maxBatch  = 1 << 20 // bytes
	maxEvents = 10_000
	maxSpan   = 24 * time.Hour
	maxAge    = 14 * 24 * time.Hour
	maxAhead  = 2 * time.Hour
)

type streamInput struct {
	LogGroupName  *string `json:"logGroupName"`
	LogStreamName *string `json:"logStreamName"`
}

func (in *streamInput) check() error {
	var c check
	c.group("logGroupName", in.LogGroupName, true)
	c.stream("logStreamName", in.LogStreamName, true)
	return c.Err()
}

func (s *Service) createLogStream(_ context.Context, r *wire.Request, in *streamInput) (*wire.None, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(func(b *store.Batch) error {
		g := s.places[home(r)][*in.LogGroupName]
		switch {
		case g == nil:
			return noGroup()
		case g.streams[*in.LogStreamName] != nil:
			return wire.Errorf("ResourceAlreadyExistsException", "The specified log stream already exists")
		}
		x := &stream{Name: *in.LogStreamName, Created: s.env.Clock.Now().UnixMilli()}
		g.streams[x.Name] = x
		return s.env.Store.SetJSON(b, g.streamKey(x.Name), x)
	})
}

func (s *Service) deleteLogStream(_ context.Context, r *wire.Request, in *streamInput) (*wire.None, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return &wire.None{}, s.change(func(b *store.Batch) error {
		g := s.places[home(r)][*in.LogGroupName]
		switch {
		case g == nil:
			return noGroup()
		case g.streams[*in.LogStreamName] == nil:
			return noStream()
		}
		delete(g.streams, *in.LogStreamName)
		b.Delete(g.streamKey(*in.LogStreamName))
		b.DeletePrefix(g.eventKeys(*in.LogStreamName))
		return nil
	})
}

type describeLogStreamsInput struct {
	LogGroupName        *string `json:"logGroupName"`
	LogGroupIdentifier  *string `json:"logGroupIdentifier"`
	LogStreamNamePrefix *string `json:"logStreamNamePrefix"`
	OrderBy             *string `json:"orderBy"`
	Descending          bool    `json:"descending"`
	NextToken           string  `json:"nextToken"`
	Limit               *int64  `json:"limit"`
}

type describeLogStreamsOutput struct {
	LogStreams []logStream `json:"logStreams"`
	NextToken  string      `json:"nextToken,omitzero"`
}

type logStream struct {
	LogStreamName       string `json:"logStreamName"`
	CreationTime        int64  `json:"creationTime"`
	FirstEventTimestamp int64  `json:"firstEventTimestamp,omitzero"`
	LastEventTimestamp  int64  `json:"lastEventTimestamp,omitzero"`
	LastIngestionTime   int64  `json:"lastIngestionTime,omitzero"`
	UploadSequenceToken string `json:"uploadSequenceToken,omitzero"`
	Arn                 string `json:"arn"`
	StoredBytes         int64  `json:"storedBytes"` // always 0 on AWS since 2019
}

// last is the time of a stream's newest event.
func (x *stream) last() int64 {
	if len(x.events) == 0 {
		return 0
	}
	return x.events[len(x.events)-1].At
}

func (s *Service) describeLogStreams(_ context.Context, r *wire.Request, in *describeLogStreamsInput) (*describeLogStreamsOutput, error) {
	var c check
	c.group("logGroupName", in.LogGroupName, false)
	prefix := c.stream("logStreamNamePrefix", in.LogStreamNamePrefix, false)
	limit := c.limit(in.Limit, 50)
	order := "LogStreamName"
	if in.OrderBy != nil {
		order = *in.OrderBy
		c.Enum("orderBy", order, "LogStreamName", "LastEventTime")
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	if order == "LastEventTime" && in.LogStreamNamePrefix != nil {
		return nil, invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	out := &describeLogStreamsOutput{LogStreams: []logStream{}}
	err := s.look(r, func(groups map[string]*group) error {
		g, err := named(r, groups, in.LogGroupName, in.LogGroupIdentifier)
		if err != nil {
			return err
		}
		all := sorted(g.streams, func(name string, _ *stream) bool { return strings.HasPrefix(name, prefix) })
		// A page's token names a rank, so that any order can be cut into pages.
		slices.SortStableFunc(all, func(a, b *stream) int {
			n := strings.Compare(a.Name, b.Name)
			if order == "LastEventTime" {
				n = cmp.Or(cmp.Compare(a.last(), b.last()), n)
			}
			if in.Descending {
				return -n
			}
			return n
		})
		rank := map[*stream]string{}
		for i, x := range all {
			rank[x] = fmt.Sprintf("%012d", i)
		}
		list, next, err := page.Of(all, func(x *stream) string { return rank[x] }, in.NextToken, limit)
		if err != nil {
			return badToken(err)
		}
		out.NextToken = next
		for _, x := range list {
			o := logStream{LogStreamName: x.Name, CreationTime: x.Created, LastIngestionTime: x.Ingested, LastEventTimestamp: x.last(),
				Arn: g.arn() + ":log-stream:" + x.Name}
			if len(x.events) > 0 {
				o.FirstEventTimestamp = x.events[0].At
			}
			if x.Ingested > 0 {
				o.UploadSequenceToken = sequenceToken(x)
			}
			out.LogStreams = append(out.LogStreams, o)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sequenceToken has the form of AWS's, which takes any token since 2023.
func sequenceToken(x *stream) string { return fmt.Sprintf("%056d", x.next) }

type inputLogEvent struct {
	Timestamp *int64  `json:"timestamp"`
	Message   *string `json:"message"`
}

type putLogEventsInput struct {
	LogGroupName  *string         `json:"logGroupName"`
	LogStreamName *string         `json:"logStreamName"`
	LogEvents     []inputLogEvent `json:"logEvents"`
	SequenceToken *string         `json:"sequenceToken"` // of no effect on AWS since 2023
	Entity        any             `json:"entity"`
}

type putLogEventsOutput struct {
	NextSequenceToken     string        `json:"nextSequenceToken"`
	RejectedLogEventsInfo *rejectedInfo `json:"rejectedLogEventsInfo,omitzero"`
}

type rejectedInfo struct {
	TooNewLogEventStartIndex *int `json:"tooNewLogEventStartIndex,omitzero"`
	TooOldLogEventEndIndex   *int `json:"tooOldLogEventEndIndex,omitzero"`
	ExpiredLogEventEndIndex  *int `json:"expiredLogEventEndIndex,omitzero"`
}

func (in *putLogEventsInput) check() ([]logged, error) {
	var c check
	c.group("logGroupName", in.LogGroupName, true)
	c.stream("logStreamName", in.LogStreamName, true)
	c.Required("logEvents", in.LogEvents != nil)
	if in.LogEvents != nil {
		c.Count("logEvents", fmt.Sprintf("[%d events]", len(in.LogEvents)), len(in.LogEvents), 1, maxEvents)
	}
	var size int64
	var events []logged
	for i, e := range in.LogEvents {
		at := fmt.Sprintf("logEvents.%d.member.", i+1)
		c.Required(at+"timestamp", e.Timestamp != nil)
		c.Required(at+"message", e.Message != nil)
		if e.Timestamp == nil || e.Message == nil {
			continue
		}
		c.Range(at+"timestamp", *e.Timestamp, 0, 1<<62)
		c.Length(at+"message", *e.Message, 1, 0)
		events = append(events, logged{At: *e.Timestamp, Message: *e.Message})
		size += events[len(events)-1].size()
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	first, last := events[0].At, events[len(events)-1].At
	switch {
	case in.Entity != nil:
		return nil, invalid("entity is not supported by millrace's local stack.")
	case size > maxBatch:
		return nil, invalid("Upload too large: %d bytes exceeds limit of %d", size, maxBatch)
	case !slices.IsSortedFunc(events, func(a, b logged) int { return cmp.Compare(a.At, b.At) }):
		return nil, invalid("Log events in a single PutLogEvents request must be in chronological order.")
	case last-first > maxSpan.Milliseconds():
		return nil, invalid("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return events, nil
}

func (s *Service) putLogEvents(_ context.Context, r *wire.Request, in *putLogEventsInput) (*putLogEventsOutput, error) {
	events, err := in.check()
	if err != nil {
		return nil, err
	}
	out := &putLogEventsOutput{}
	err = s.change(func(b *store.Batch) error {
		g := s.places[home(r)][*in.LogGroupName]
		if g == nil {
			return noGroup()
		}
		x := g.streams[*in.LogStreamName]
		if x == nil {
			return noStream()
		}
		kept, info := s.accept(g, events)
		out.RejectedLogEventsInfo = info
		if err := s.append(b, g, x, kept); err != nil {
			return err
		}
		out.NextSequenceToken = sequenceToken(x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// accept leaves out what is too old, too new or beyond the group's retention.
func (s *Service) accept(g *group, events []logged) ([]logged, *rejectedInfo) {
	now := s.env.Clock.Now()
	info := &rejectedInfo{}
	begin, end := 0, len(events)
	for i, e := range events {
		after := i + 1
		switch {
		case e.At < g.oldest(now):
			info.ExpiredLogEventEndIndex, begin = &after, after
		case e.At < now.Add(-maxAge).UnixMilli():
			info.TooOldLogEventEndIndex, begin = &after, after
		case e.At > now.Add(maxAhead).UnixMilli() && info.TooNewLogEventStartIndex == nil:
			info.TooNewLogEventStartIndex, end = &i, i
		}
	}
	if *info == (rejectedInfo{}) {
		return events, nil
	}
	return events[begin:max(begin, end)], info
}

// span is a part of time: from start, and before end.
type span struct{ start, end int64 }

func spanOf(start, end *int64) span {
	s := span{0, 1<<63 - 1}
	if start != nil {
		s.start = *start
	}
	if end != nil {
		s.end = *end
	}
	return s
}

// in returns the events of a stream in a span.
func (x *stream) in(s span) []logged {
	from, _ := slices.BinarySearchFunc(x.events, s.start, func(e logged, at int64) int { return cmp.Compare(e.At, at) })
	to, _ := slices.BinarySearchFunc(x.events, s.end, func(e logged, at int64) int { return cmp.Compare(e.At, at) })
	return x.events[from:max(from, to)]
}

type getLogEventsInput struct {
	LogGroupName       *string `json:"logGroupName"`
	LogGroupIdentifier *string `json:"logGroupIdentifier"`
	LogStreamName      *string `json:"logStreamName"`
	StartTime          *int64  `json:"startTime"`
	EndTime            *int64  `json:"endTime"`
	NextToken          *string `json:"nextToken"`
	Limit              *int64  `json:"limit"`
	StartFromHead      bool    `json:"startFromHead"`
	Unmask             bool    `json:"unmask"` // nothing is masked
}

type getLogEventsOutput struct {
	Events            []outputLogEvent `json:"events"`
	NextForwardToken  string           `json:"nextForwardToken"`
	NextBackwardToken string           `json:"nextBackwardToken"`
}

type outputLogEvent struct {
	Timestamp     int64  `json:"timestamp"`
	Message       string `json:"message"`
	IngestionTime int64  `json:"ingestionTime"`
}

// Tokens of GetLogEvents name the event that they begin behind, or in front of.
func eventToken(direction string, e logged) string {
	return fmt.Sprintf("%s/%020d%036d", direction, e.At, e.Number+1)
}

func parseEventToken(token string) (direction string, e logged, err error) {
	direction, digits, _ := strings.Cut(token, "/")
	if direction != "f" && direction != "b" || len(digits) != 56 {
		return "", e, page.ErrToken
	}
	if strings.Trim(digits, "0123456789") != "" {
		return "", e, page.ErrToken
	}
	e.At, err = strconv.ParseInt(digits[:20], 10, 64)
	if err == nil {
		e.Number, err = strconv.ParseInt(digits[20:], 10, 64)
	}
	if err != nil {
		return "", e, page.ErrToken
	}
	e.Number--
	return direction, e, nil
}

func (s *Service) getLogEvents(_ context.Context, r *wire.Request, in *getLogEventsInput) (*getLogEventsOutput, error) {
	var c check
	c.group("logGroupName", in.LogGroupName, false)
	c.stream("logStreamName", in.LogStreamName, true)
	limit := c.limit(in.Limit, maxEvents)
	if err := c.Err(); err != nil {
		return nil, err
	}
	direction, at := "", logged{Number: -1}
	if in.NextToken != nil {
		var err error
		if direction, at, err = parseEventToken(*in.NextToken); err != nil {
			return nil, badToken(err)
		}
	}
	out := &getLogEventsOutput{Events: []outputLogEvent{}}
	err := s.look(r, func(groups map[string]*group) error {
		g, err := named(r, groups, in.LogGroupName, in.LogGroupIdentifier)
		if err != nil {
			return err
		}
		x := g.streams[*in.LogStreamName]
		if x == nil {
			return noStream()
		}
		list := x.in(spanOf(in.StartTime, in.EndTime))
		i, found := slices.BinarySearchFunc(list, at, logged.compare)
		switch {
		case direction == "f":
			if found {
				i++
			}
			list = list[i:min(i+limit, len(list))]
		case direction == "b":
			list = list[max(i-limit, 0):i]
		case in.StartFromHead:
			list = list[:min(limit, len(list))]
		default:
			list = list[max(len(list)-limit, 0):]
		}
		first, last := at, at
		if len(list) > 0 {
			first, last = list[0], list[len(list)-1]
		}
		out.NextForwardToken, out.NextBackwardToken = eventToken("f", last), eventToken("b", first)
		for _, e := range list {
			out.Events = append(out.Events, outputLogEvent{Timestamp: e.At, Message: e.Message, IngestionTime: e.Ingested})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

type filterLogEventsInput struct {
	LogGroupName        *string  `json:"logGroupName"`
	LogGroupIdentifier  *string  `json:"logGroupIdentifier"`
	LogStreamNames      []string `json:"logStreamNames"`
	LogStreamNamePrefix *string  `json:"logStreamNamePrefix"`
	StartTime           *int64   `json:"startTime"`
	EndTime             *int64   `json:"endTime"`
	FilterPattern       string   `json:"filterPattern"`
	NextToken           string   `json:"nextToken"`
	Limit               *int64   `json:"limit"`
	Interleaved         *bool    `json:"interleaved"` // of no effect on AWS since 2019
	Unmask              bool     `json:"unmask"`      // nothing is masked
}

type filterLogEventsOutput struct {
	Events             []filteredLogEvent  `json:"events"`
	SearchedLogStreams []searchedLogStream `json:"searchedLogStreams"`
	NextToken          string              `json:"nextToken,omitzero"`
}

type filteredLogEvent struct {
	LogStreamName string `json:"logStreamName"`
	Timestamp     int64  `json:"timestamp"`
	Message       string `json:"message"`
	IngestionTime int64  `json:"ingestionTime"`
	EventID       string `json:"eventId"`
}

type searchedLogStream struct {
	LogStreamName      string `json:"logStreamName"`
	SearchedCompletely bool   `json:"searchedCompletely"`
}

func (s *Service) filterLogEvents(_ context.Context, r *wire.Request, in *filterLogEventsInput) (*filterLogEventsOutput, error) {
	var c check
	c.group("logGroupName", in.LogGroupName, false)
	prefix := c.stream("logStreamNamePrefix", in.LogStreamNamePrefix, false)
	limit := c.limit(in.Limit, maxEvents)
	c.Length("filterPattern", in.FilterPattern, 0, 1024)
	if in.LogStreamNames != nil {
		c.Count("logStreamNames", fmt.Sprint(in.LogStreamNames), len(in.LogStreamNames), 1, 100)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	switch {
	case in.FilterPattern != "":
		return nil, invalid("filterPattern is not supported by millrace's local stack; leave it out to get all events.")
	case in.LogStreamNames != nil && in.LogStreamNamePrefix != nil:
		return nil, invalid("logStreamNames and logStreamNamePrefix cannot be given together.")
	}
	out := &filterLogEventsOutput{Events: []filteredLogEvent{}, SearchedLogStreams: []searchedLogStream{}}
	err := s.look(r, func(groups map[string]*group) error {
		g, err := named(r, groups, in.LogGroupName, in.LogGroupIdentifier)
		if err != nil {
			return err
		}
		for _, name := range in.LogStreamNames {
			if g.streams[name] == nil {
				return noStream()
			}
		}
		var all []filteredLogEvent
		for _, x := range sorted(g.streams, func(name string, _ *stream) bool {
			return strings.HasPrefix(name, prefix) && (in.LogStreamNames == nil || slices.Contains(in.LogStreamNames, name))
		}) {
			for _, e := range x.in(spanOf(in.StartTime, in.EndTime)) {
				all = append(all, filteredLogEvent{LogStreamName: x.Name, Timestamp: e.At, Message: e.Message, IngestionTime: e.Ingested,
					EventID: fmt.Sprintf("%020d%036d", e.At, e.Number)})
			}
		}
		order := func(e filteredLogEvent) string { return e.EventID + e.LogStreamName }
		slices.SortFunc(all, func(a, b filteredLogEvent) int { return strings.Compare(order(a), order(b)) })
		list, next, err := page.Of(all, order, in.NextToken, limit)
		if err != nil {
			return badToken(err)
		}
		out.Events, out.NextToken = append(out.Events, list...), next
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
