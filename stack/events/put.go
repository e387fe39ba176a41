package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/outbox"
	"github.com/millrace/millrace/stack/policy"
	"github.com/millrace/millrace/stack/wire"
)

// Limits of PutEvents.
const (
	maxEntries    = 10
	maxSize       = 1 << 20 // of all entries together; it was 256 KB until 2026
	maxDepth      = 1000    // of a detail's JSON
	maxDetailType = 128     // characters
	timeSize      = 14      // what a Time counts for
)

type putEventsEntry struct {
	Time         *wire.Time `json:"Time"`
	Source       *string    `json:"Source"`
	Resources    []string   `json:"Resources"`
	DetailType   *string    `json:"DetailType"`
	Detail       *string    `json:"Detail"`
	EventBusName *string    `json:"EventBusName"`
	TraceHeader  *string    `json:"TraceHeader"`
}

type putEventsInput struct {
	Entries    []putEventsEntry `json:"Entries"`
	EndpointID *string          `json:"EndpointId"`
}

type putEventsOutput struct {
	FailedEntryCount int              `json:"FailedEntryCount"`
	Entries          []putEventResult `json:"Entries"`
}

type putEventResult struct {
	EventID      string `json:"EventId,omitzero"`
	ErrorCode    string `json:"ErrorCode,omitzero"`
	ErrorMessage string `json:"ErrorMessage,omitzero"`
}

// String shows an entry as AWS's refusals do.
func (e *putEventsEntry) String() string {
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	at, resources := "null", "null"
	if e.Time != nil {
		at = e.Time.UTC().Format("Mon Jan 02 15:04:05 UTC 2006")
	}
	if e.Resources != nil {
		resources = "[" + strings.Join(e.Resources, ", ") + "]"
	}
	return fmt.Sprintf("PutEventsRequestEntry(time=%s, source=%s, resources=%s, detailType=%s, detail=%s, eventBusName=%s, "+
		"traceHeader=%s, kmsKeyIdentifier=null, internalMetadata=null)",
		at, text(e.Source), resources, text(e.DetailType), text(e.Detail), text(e.EventBusName), text(e.TraceHeader))
}

// size is what an entry counts for
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html).
func (e *putEventsEntry) size() int {
	n := 0
	if e.Time != nil {
		n += timeSize
	}
	for _, s := range []*string{e.Source, e.DetailType, e.Detail} {
		if s != nil {
			n += len(*s)
		}
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

func (in *putEventsInput) check() error {
	var c check
	c.Required("entries", in.Entries != nil)
	if n := len(in.Entries); in.Entries != nil && (n == 0 || n > maxEntries) {
		shown := make([]string, n)
		for i := range in.Entries {
			shown[i] = in.Entries[i].String()
		}
		c.Count("entries", "["+strings.Join(shown, ", ")+"]", n, 1, maxEntries)
	}
	size := 0
	for i := range in.Entries {
		e := &in.Entries[i]
		at := fmt.Sprintf("entries.%d.member", i+1)
		c.bus(at+".eventBusName", e.EventBusName)
		c.text(at+".traceHeader", e.TraceHeader, 1, 500)
		for j, r := range e.Resources {
			c.Length(fmt.Sprintf("%s.resources.%d.member", at, j+1), r, 0, 2048)
		}
		size += e.size()
	}
	if err := c.Err(); err != nil {
		return err
	}
	if in.EndpointID != nil {
		return invalid("EndpointId", "millrace's local stack has no global endpoints.")
	}
	if size > maxSize {
		return wire.Errorf("ValidationException", "Total size of the entries in the request is over the limit.")
	}
	return nil
}

func (s *Service) putEvents(ctx context.Context, r *wire.Request, in *putEventsInput) (*putEventsOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	out := &putEventsOutput{Entries: make([]putEventResult, len(in.Entries))}
	for i := range in.Entries {
		result := s.putEvent(ctx, r, &in.Entries[i])
		if result.ErrorCode != "" {
			out.FailedEntryCount++
		}
		out.Entries[i] = result
	}
	return out, nil
}

// putEvent puts one event onto its bus. An event for a bus that is not there is accepted and goes nowhere, as on AWS.
func (s *Service) putEvent(ctx context.Context, r *wire.Request, in *putEventsEntry) putEventResult {
	detail, refusal := in.refuse()
	if refusal.ErrorCode != "" {
		return refusal
	}
	where, name := home(r), defaultBus
	if in.EventBusName != nil {
		name = *in.EventBusName
		if strings.HasPrefix(name, "arn:") {
			var ok bool
			if where, name, ok = parseBus(name); !ok || where.region != r.Region {
				return bad("EventBusName", "The event bus is in another region.")
			}
		}
	}
	e := &inflight{id: uuid.NewString(), at: s.env.Clock.Now(), ingested: s.env.Clock.Now(), sender: r.Account, trace: r.TraceHeader}
	if in.Time != nil {
		e.at = in.Time.Time
	}
	if in.TraceHeader != nil {
		e.trace = *in.TraceHeader
	}
	e.source, e.detailType = *in.Source, *in.DetailType
	e.doc = event.AppendEventBridge(make([]byte, 0, len(detail)+512), &event.EventBridge{ID: e.id, DetailType: e.detailType, Source: e.source,
		Account: r.Account, Region: r.Region, Time: e.at, Resources: in.Resources, Detail: detail})
	m, err := s.admit(where, name, e)
	switch {
	case err == nil:
	case m == nil && err.Code == "ResourceNotFoundException":
		s.env.Log.Warn("an event was put onto a bus that does not exist", slog.String("bus", where.arn("event-bus/"+name)))
		return putEventResult{EventID: e.id}
	default:
		return putEventResult{ErrorCode: err.Code, ErrorMessage: err.Message}
	}
	times := 1
	if r.Duplicate {
		times = 2
	}
	for range times {
		if err := s.dispatch(ctx, m, e); err != nil {
			s.env.Log.Error("an event could not be kept", slog.String("event", e.id), slog.Any("error", err))
			return putEventResult{ErrorCode: "InternalFailure",
				ErrorMessage: "The request processing has failed because of an unknown error, exception or failure."}
		}
	}
	return putEventResult{EventID: e.id}
}

func bad(parameter, reason string) putEventResult {
	return putEventResult{ErrorCode: "InvalidArgument", ErrorMessage: "Parameter " + parameter + " is not valid. Reason: " + reason}
}

// refuse says why an entry is no event, or returns its detail without insignificant space.
func (e *putEventsEntry) refuse() (detail []byte, refusal putEventResult) {
	for _, p := range []struct {
		name  string
		value *string
	}{{"Source", e.Source}, {"DetailType", e.DetailType}, {"Detail", e.Detail}} {
		if p.value == nil || *p.value == "" {
			return nil, bad(p.name, p.name+" is a required argument.")
		}
	}
	if strings.HasPrefix(*e.Source, "aws.") {
		return nil, putEventResult{ErrorCode: "NotAuthorizedForSourceException", ErrorMessage: "Not authorized for the source."}
	}
	if len([]rune(*e.DetailType)) > maxDetailType {
		return nil, bad("DetailType", fmt.Sprintf("DetailType has more than %d characters.", maxDetailType))
	}
	v := jsontext.Value(*e.Detail)
	if !event.ValidJSON(v) || v.Kind() != '{' || tooDeep(v) || v.Compact(jsontext.AllowDuplicateNames(true)) != nil {
		return nil, putEventResult{ErrorCode: "MalformedDetail", ErrorMessage: "Detail is malformed."}
	}
	return v, putEventResult{}
}

// tooDeep reports whether valid JSON is nested beyond maxDepth.
func tooDeep(v []byte) bool {
	depth, text := 0, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// inflight is an event on its way through a bus.
type inflight struct {
	doc                []byte
	id                 string
	source, detailType string
	at                 time.Time // that it says
	ingested           time.Time
	sender             string // account; empty for a service of AWS
	trace              string
	hop                bool // it came from another bus
	replayed           bool
	only               []string // ARNs of the rules that a replay is for; none is all
}

// admit finds a bus, and asks its policy whether an event may come in.
func (s *Service) admit(where place, name string, e *inflight) (*matcher, *wire.Error) {
	m, p, ok := s.matcherOf(where, name)
	if !ok {
		return nil, wire.Errorf("ResourceNotFoundException", "Event bus %s does not exist.", name)
	}
	if e.sender == "" || e.sender == where.account {
		return m, nil
	}
	arn := where.arn("event-bus/" + name)
	if p.Allows(policy.Request{Principal: e.sender, Action: "events:PutEvents", Resource: arn, Context: map[string]string{
		"aws:principalaccount": e.sender, "events:source": e.source, "events:detail-type": e.detailType,
		"events:eventbusinvocation": fmt.Sprint(e.hop),
	}}) {
		return m, nil
	}
	return nil, &wire.Error{Code: "AccessDeniedException", Status: http.StatusForbidden, Message: fmt.Sprintf("User: arn:aws:iam::%s:root is not "+
		"authorized to perform: events:PutEvents on resource: %s because no resource-based policy allows the events:PutEvents action", e.sender, arn)}
}

// envelope is what a bus reads of an event that another service has made.
type envelope struct {
	ID         string         `json:"id"`
	DetailType string         `json:"detail-type"`
	Source     string         `json:"source"`
	Account    string         `json:"account"`
	Time       time.Time      `json:"time"`
	Region     string         `json:"region"`
	ReplayName string         `json:"replay-name"`
	Resources  []string       `json:"resources"`
	Detail     jsontext.Value `json:"detail"`
}

// receive is Deliver.
func (s *Service) receive(ctx context.Context, busARN string, m env.Message) error {
	where, name, ok := parseBus(busARN)
	if !ok {
		return wire.Errorf("ValidationException", "%s is not the ARN of an event bus.", busARN)
	}
	e := &inflight{doc: []byte(m.Body), ingested: s.env.Clock.Now(), trace: m.TraceHeader}
	var x envelope
	if err := json.Unmarshal(e.doc, &x, jsontext.AllowDuplicateNames(true)); err != nil || x.ID == "" || x.Source == "" || x.Detail == nil {
		return wire.Errorf("ValidationException", "What was sent to the event bus %s is not an event document.", name)
	}
	e.id, e.source, e.detailType, e.at, e.replayed = x.ID, x.Source, x.DetailType, x.Time, x.ReplayName != ""
	if from := strings.SplitN(m.From, ":", 6); len(from) == 6 && from[2] == "events" && strings.HasPrefix(from[5], "rule/") {
		e.hop, e.sender = true, from[4]
		if from[3] != where.region { // an event that crosses regions gets another id; its account and region stay
			e.id = uuid.NewString()
			e.doc = event.AppendEventBridge(nil, &event.EventBridge{ID: e.id, DetailType: x.DetailType, Source: x.Source, Account: x.Account,
				Region: x.Region, Time: x.Time, Resources: x.Resources, ReplayName: x.ReplayName, Detail: x.Detail})
		}
	}
	matcher, refusal := s.admit(where, name, e)
	if refusal != nil {
		return refusal
	}
	return s.dispatch(ctx, matcher, e)
}

// dispatch keeps an event in the archives that want it, and sends it to the targets of the rules that match. It
// returns once that is done, or is kept as durably as the stack is.
func (s *Service) dispatch(ctx context.Context, m *matcher, e *inflight) error {
	rules, archives, err := m.match(e)
	if err != nil {
		return err
	}
	if len(archives) > 0 {
		if err := s.keep(archives, e); err != nil {
			return err
		}
	}
	var items []*outbox.Item
	for _, v := range rules {
		for _, t := range v.targets {
			items = append(items, t.item(e, v, s.env.Clock.Now()))
		}
	}
	return s.send(ctx, items)
}

// send sends all items, those of a durable stack at the same time so that they wait for the disk together.
func (s *Service) send(ctx context.Context, items []*outbox.Item) error {
	if len(items) < 2 || !s.env.Store.Durable() {
		for _, it := range items {
			if err := s.outbox.Send(ctx, it); err != nil {
				return err
			}
		}
		return nil
	}
	var work sync.WaitGroup
	errs := make([]error, len(items))
	for i, it := range items {
		work.Go(func() { errs[i] = s.outbox.Send(ctx, it) })
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// item is what a target of a rule is sent of an event.
func (t *target) item(e *inflight, v *view, now time.Time) *outbox.Item {
	it := &outbox.Item{
		Target: t.Arn, DeadLetter: deadLetterOf(t.DeadLetterConfig),
		Message: env.Message{From: v.arn, Principal: principal, Body: string(e.doc), TraceHeader: e.trace},
	}
	retries, age := t.retries()
	it.MaxRetries, it.Deadline = retries, now.Add(time.Duration(age)*time.Second)
	if t.RoleArn != nil { // which then acts, so that the policy of a queue or topic is not asked
		it.Message.Principal = ""
	}
	giveUp := func(code, text string) *outbox.Item {
		it.GivenUp, it.Failure = true, outbox.Failure{Code: code, Message: text, Status: http.StatusBadRequest}
		return it
	}
	if t.kind == eventBus && e.hop {
		code := "THIRD_ACCOUNT_HOP_DETECTED"
		if t.region != v.region {
			code = "THIRD_REGION_HOP_DETECTED"
		}
		return giveUp(code, "Events received from another event bus cannot be forwarded to this event bus.")
	}
	if t.input != nil {
		body, err := t.input.apply(e, v)
		it.About = map[string]string{"event": it.Message.Body} // for the dead letter
		if err != nil {
			return giveUp("INVALID_JSON", err.Error())
		}
		it.Message.Body = body
	}
	switch t.kind {
	case queue, topic:
		if t.SqsParameters != nil {
			it.Message.GroupID = t.SqsParameters.MessageGroupID
		}
	case stream:
		it.Message.PartitionKey = t.partitionKey(e)
	case logGroup:
		if t.input != nil {
			if err := logLine(&it.Message); err != nil {
				return giveUp("INVALID_PARAMETER", err.Error())
			}
		}
	case function, eventBus, unsupported:
	}
	return it
}

// partitionKey is what the target's path finds in the event, or the event's id.
func (t *target) partitionKey(e *inflight) string {
	if t.key != nil {
		if k := textAt(t.key, e.doc); k != "" {
			return k[:min(len(k), 256)]
		}
	}
	return e.id
}

// letter is what a dead-letter queue receives: the event, and why it was not delivered
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html).
func letter(it *outbox.Item) env.Message {
	body := it.Message.Body
	if original := it.About["event"]; original != "" {
		body = original
	}
	text := func(s string) env.Attribute { return env.Attribute{DataType: "String", String: s} }
	attributes := map[string]env.Attribute{
		"RULE_ARN": text(it.Message.From), "TARGET_ARN": text(it.Target), "ERROR_CODE": text(errorCode(it.Failure)),
		"RETRY_ATTEMPTS": text(fmt.Sprint(max(it.Attempts-1, 0))),
	}
	if it.Failure.Message != "" {
		attributes["ERROR_MESSAGE"] = text(it.Failure.Message)
	}
	if it.Failure.Exhausted != "" {
		attributes["EXHAUSTED_RETRY_CONDITION"] = text(it.Failure.Exhausted)
	}
	return env.Message{From: it.Message.From, Principal: principal, Body: body, Attributes: attributes, TraceHeader: it.Message.TraceHeader}
}

// errorCode words a target's error as EventBridge does.
func errorCode(f outbox.Failure) string {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(f.Code, p) {
				return true
			}
		}
		return false
	}
	switch {
	case f.Code == strings.ToUpper(f.Code): // one of its own already
		return f.Code
	case f.Throttled():
		return "THROTTLING"
	case has("NotFound", "DoesNotExist", "NonExistent", "NoSuch"):
		return "NO_RESOURCE"
	case has("AccessDenied", "Unauthorized", "AuthorizationError", "NotAuthorized"):
		return "NO_PERMISSIONS"
	case has("Timeout"):
		return "TIMEOUT"
	case has("Validation", "Invalid", "Missing", "TooLong", "TooLarge", "Malformed"):
		return "INVALID_PARAMETER"
	case f.Code == "InternalFailure":
		return "INTERNAL_ERROR"
	}
	return "ERROR_FROM_TARGET"
}

// checkTestEvent refuses what TestEventPattern does not take for an event.
func checkTestEvent(text string) error {
	var x map[string]jsontext.Value
	err := json.Unmarshal([]byte(text), &x, jsontext.AllowDuplicateNames(true))
	if err != nil {
		return wire.Errorf("ValidationException", "Parameter Event is not valid.")
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "detail-type"} {
		if v, ok := x[name]; !ok || bytes.Equal(v, []byte("null")) {
			return wire.Errorf("ValidationException", "Parameter Event is not valid.")
		}
	}
	return nil
}
