package router

import "strconv"

// Dialect is the service whose rules a pattern is compiled by. The language is one; the services differ in the
// operators they take, in their limits, and in what they say of a pattern that they refuse.
type Dialect uint8

const (
	// EventBridge is the language of bus rules, archives and TestEventPattern: everything.
	EventBridge Dialect = iota
	// Lambda is the language of event source mappings' FilterCriteria: without wildcard, and without operators
	// inside anything-but (AWS's table of comparison operators, column "Pipe support").
	Lambda
	// SNSAttributes is the language of SNS filter policies with the scope MessageAttributes: without wildcard and
	// nesting, and in anything-but only prefix. Match it against what AppendAttribute builds.
	SNSAttributes
	// SNSBody is the language of SNS filter policies with the scope MessageBody.
	SNSBody
)

func (d Dialect) sns() bool { return d == SNSAttributes || d == SNSBody }

// String is the name of the service, and of the scope for SNS.
func (d Dialect) String() string {
	switch d {
	case EventBridge:
		return "EventBridge"
	case Lambda:
		return "Lambda"
	case SNSAttributes:
		return "SNS MessageAttributes"
	case SNSBody:
		return "SNS MessageBody"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

// An InvalidError says why a pattern is refused.
type InvalidError struct {
	Dialect Dialect
	// Reason is AWS's text, with the position in the pattern in the lines that follow the first where AWS gives it.
	Reason string
	// policy marks a refusal that SNS does not introduce with "FilterPolicy: ".
	policy bool
}

// Error is the text of the refusal as the service words it:
//
//   - EventBridge: "Event pattern is not valid. Reason: …", of an InvalidEventPatternException.
//   - Lambda: "Invalid filter pattern definition.", of an InvalidParameterValueException; Reason stays here.
//   - SNS: "FilterPolicy: …", of an InvalidParameter, after "Invalid parameter: " in SetSubscriptionAttributes and
//     "Invalid parameter: Attributes Reason: " in Subscribe. Use [InvalidError.Policy] for the whole text.
func (e *InvalidError) Error() string {
	switch e.Dialect {
	case Lambda:
		return "Invalid filter pattern definition."
	case SNSAttributes, SNSBody:
		if e.policy {
			return e.Reason
		}
		return "FilterPolicy: " + e.Reason
	case EventBridge:
	}
	return "Event pattern is not valid. Reason: " + e.Reason
}

// Policy is the message of SNS's InvalidParameter error: of Subscribe if subscribe, else of
// SetSubscriptionAttributes.
func (e *InvalidError) Policy(subscribe bool) string {
	if subscribe && !e.policy {
		return "Invalid parameter: Attributes Reason: " + e.Error()
	}
	return "Invalid parameter: " + e.Error()
}
