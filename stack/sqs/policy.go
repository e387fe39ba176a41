package sqs

import (
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/stack/policy"
)

const maxStatements = 20

// document is a policy whose statements are kept as they were written.
type document struct {
	Version   string           `json:"Version,omitzero"`
	ID        string           `json:"Id,omitzero"`
	Statement []jsontext.Value `json:"Statement"`
}

// parsePolicy checks a queue's policy. Whether it lets a service in is decided where messages are delivered.
func parsePolicy(text string) (*document, error) {
	bad := invalidAttributeValue(attrPolicy, "")
	if _, err := policy.Parse([]byte(text)); err != nil {
		return nil, bad
	}
	var shape struct {
		Version   string         `json:"Version"`
		ID        string         `json:"Id"`
		Statement jsontext.Value `json:"Statement"`
	}
	if json.Unmarshal([]byte(text), &shape) != nil {
		return nil, bad
	}
	d := &document{Version: shape.Version, ID: shape.ID, Statement: []jsontext.Value{shape.Statement}}
	if shape.Statement.Kind() == '[' {
		if json.Unmarshal(shape.Statement, &d.Statement) != nil {
			return nil, bad
		}
	}
	if len(d.Statement) > maxStatements {
		return nil, overLimit("%d statements were found in the submitted policy, max allowed is %d", len(d.Statement), maxStatements)
	}
	for _, st := range d.Statement {
		var s struct {
			Action    oneOrMore `json:"Action"`
			NotAction oneOrMore `json:"NotAction"`
		}
		if json.Unmarshal(st, &s) != nil {
			return nil, bad
		}
		for _, a := range slices.Concat(s.Action, s.NotAction) {
			if a != "*" && !strings.HasPrefix(strings.ToLower(a), "sqs:") {
				return nil, bad // another service's
			}
		}
	}
	return d, nil
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

func (o oneOrMore) MarshalJSONTo(e *jsontext.Encoder) error {
	if len(o) == 1 {
		return e.WriteToken(jsontext.String(o[0]))
	}
	return json.MarshalEncode(e, []string(o))
}

func (o *oneOrMore) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '"' {
		var s string
		if err := json.UnmarshalDecode(d, &s); err != nil {
			return err
		}
		*o = oneOrMore{s}
		return nil
	}
	return json.UnmarshalDecode(d, (*[]string)(o))
}

// label is the Sid of a statement.
func label(statement jsontext.Value) string {
	var s struct {
		SID string `json:"Sid"`
	}
	if json.Unmarshal(statement, &s) != nil {
		return ""
	}
	return s.SID
}

// permissions are the actions that AddPermission can grant.
var permissions = []string{
	"*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl",
	"ListDeadLetterSourceQueues", "PurgeQueue", "StartMessageMoveTask", "ListMessageMoveTasks", "CancelMessageMoveTask", "ListQueueTags",
}

const maxPermissions = 7

var permissionLabel = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// grant returns a policy with one statement more, in the form that AddPermission gives it.
func (q *queue) grant(text, sid string, accounts, actions []string) (string, error) {
	d := &document{Version: "2008-10-17", ID: q.arn() + "/SQSDefaultPolicy"}
	if text != "" {
		var err error
		if d, err = parsePolicy(text); err != nil {
			return "", err
		}
	}
	for _, st := range d.Statement {
		if label(st) == sid {
			return "", invalidValue("Label", sid, "Already exists.")
		}
	}
	if len(d.Statement) >= maxStatements {
		return "", overLimit("%d statements were found in the submitted policy, max allowed is %d", len(d.Statement)+1, maxStatements)
	}
	st := struct {
		SID       string               `json:"Sid"`
		Effect    string               `json:"Effect"`
		Principal map[string]oneOrMore `json:"Principal"`
		Action    oneOrMore            `json:"Action"`
		Resource  string               `json:"Resource"`
	}{SID: sid, Effect: "Allow", Principal: map[string]oneOrMore{}, Resource: q.arn()}
	for _, a := range accounts {
		st.Principal["AWS"] = append(st.Principal["AWS"], "arn:aws:iam::"+a+":root")
	}
	for _, a := range actions {
		st.Action = append(st.Action, "SQS:"+a)
	}
	v, err := json.Marshal(st)
	if err != nil {
		return "", err
	}
	d.Statement = append(d.Statement, v)
	return d.text()
}

// revoke returns a policy without the statement that has a label, "" if none is left.
func revoke(text, sid string) (string, error) {
	d := &document{}
	if text != "" {
		var err error
		if d, err = parsePolicy(text); err != nil {
			return "", err
		}
	}
	n := len(d.Statement)
	d.Statement = slices.DeleteFunc(d.Statement, func(st jsontext.Value) bool { return label(st) == sid })
	if len(d.Statement) == n {
		return "", invalidValue("Label", sid, "can't find label.")
	}
	if len(d.Statement) == 0 {
		return "", nil
	}
	return d.text()
}

func (d *document) text() (string, error) {
	b, err := json.Marshal(d)
	return string(b), err
}
