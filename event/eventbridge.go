package event

import "time"

// EventBridge is an event of an EventBridge bus. A function receives it bare, without Records
// (https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html).
type EventBridge struct {
	ID         string // UUID
	DetailType string
	Source     string
	Account    string // twelve digits; where the event comes from, not where it was forwarded to
	Region     string // likewise
	Time       time.Time
	Resources  []string // ARNs
	ReplayName string   // of an archive's replay; empty for any other event
	Detail     []byte   // one JSON value; not checked here
}

// ScheduledEvent is what a scheduled rule sends: an event of source aws.events, about the rule itself. t is
// the time that the schedule names.
func ScheduledEvent(id, ruleARN, account, region string, t time.Time) EventBridge {
	return EventBridge{
		ID: id, DetailType: "Scheduled Event", Source: "aws.events", Account: account, Region: region,
		Time: t, Resources: []string{ruleARN}, Detail: []byte(`{}`),
	}
}

// SchedulerEvent is what EventBridge Scheduler sends when a schedule has no input of its own. It differs
// from ScheduledEvent in its source and in that its detail is a string that holds an empty object.
func SchedulerEvent(id, scheduleARN, account, region string, t time.Time) EventBridge {
	e := ScheduledEvent(id, scheduleARN, account, region, t)
	e.Source, e.Detail = "aws.scheduler", []byte(`"{}"`)
	return e
}

// AppendEventBridge appends the document of e, its keys in the order in which EventBridge sends them. The
// time has whole seconds: what is below is dropped, as EventBridge does.
func AppendEventBridge(dst []byte, e *EventBridge) []byte {
	dst = append(dst, `{"version":"0","id":`...)
	dst = AppendString(dst, e.ID)
	dst = append(dst, `,"detail-type":`...)
	dst = AppendString(dst, e.DetailType)
	dst = append(dst, `,"source":`...)
	dst = AppendString(dst, e.Source)
	dst = append(dst, `,"account":`...)
	dst = AppendString(dst, e.Account)
	dst = append(dst, `,"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05Z")
	dst = append(dst, `","region":`...)
	dst = AppendString(dst, e.Region)
	if e.ReplayName != "" {
		dst = append(dst, `,"replay-name":`...)
		dst = AppendString(dst, e.ReplayName)
	}
	dst = append(dst, `,"resources":[`...)
	for i, r := range e.Resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, r)
	}
	dst = append(dst, `],"detail":`...)
	dst = append(dst, e.Detail...)
	return append(dst, '}')
}
