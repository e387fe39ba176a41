package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// AppendTokenAuthorizer appends the document of a REST API's TOKEN authorizer.
func AppendTokenAuthorizer(dst []byte, methodARN, token string) []byte {
	dst = append(dst, `{"type":"TOKEN","methodArn":`...)
	dst = AppendString(dst, methodARN)
	dst = append(dst, `,"authorizationToken":`...)
	dst = AppendString(dst, token)
	return append(dst, '}')
}

// AppendRESTAuthorizer appends the document of a REST API's REQUEST authorizer.
func AppendRESTAuthorizer(dst []byte, r *HTTPRequest, methodARN string) []byte {
	dst = append(dst, `{"type":"REQUEST","methodArn":`...)
	dst = AppendString(dst, methodARN)
	dst = append(dst, `,"resource":`...)
	dst = appendV1(dst, r)
	dst = append(dst, `,"requestContext":{`...)
	dst = appendRESTContext(dst, r)
	return append(dst, `}}`...)
}

// AppendHTTPAPIAuthorizer appends the document of an HTTP API's Lambda authorizer with payload format 2.0;
// sources are the values of its identity sources
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html).
func AppendHTTPAPIAuthorizer(dst []byte, r *HTTPRequest, routeARN string, sources []string) []byte {
	dst = append(dst, `{"version":"2.0","type":"REQUEST","routeArn":`...)
	dst = AppendString(dst, routeARN)
	dst = append(dst, `,"identitySource":`...)
	if len(sources) == 0 {
		dst = append(dst, "null"...)
	} else {
		for i, s := range sources {
			dst = append(dst, "[,"[min(i, 1)])
			dst = AppendString(dst, s)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"routeKey":`...)
	dst = appendV2Head(dst, r, false)
	dst = appendV2Tail(dst, r)
	return append(dst, '}')
}

// AppendHTTPAPIv1Authorizer is AppendHTTPAPIAuthorizer with payload format 1.0.
func AppendHTTPAPIv1Authorizer(dst []byte, r *HTTPRequest, methodARN string, sources []string) []byte {
	joined := strings.Join(sources, ",")
	dst = append(dst, `{"version":"1.0","type":"REQUEST","methodArn":`...)
	dst = AppendString(dst, methodARN)
	dst = append(dst, `,"identitySource":`...)
	dst = appendOrNull(dst, joined)
	dst = append(dst, `,"authorizationToken":`...)
	dst = appendOrNull(dst, joined)
	dst = append(dst, `,"resource":`...)
	dst = appendV1(dst, r)
	dst = append(dst, `,"requestContext":{`...)
	dst = appendV1Context(dst, r)
	return append(dst, `}}`...)
}

// Authorization is what an authorizer function answered: a policy, or a simple yes or no.
type Authorization struct {
	PrincipalID string                     // of a policy
	Context     map[string]json.RawMessage // strings, numbers and booleans

	simple, allowed bool
	statements      []statement
}

// Decision is the outcome of a policy.
type Decision uint8

// A policy that says nothing of a request denies it implicitly.
const (
	ImplicitDeny Decision = iota
	ExplicitDeny
	Allow
)

type statement struct {
	Effect      string
	Action      oneOrMany
	NotAction   oneOrMany
	Resource    oneOrMany
	NotResource oneOrMany
	Condition   json.RawMessage
}

// oneOrMany is a string or a list of strings.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*o = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// ReadAuthorization reads the answer of an authorizer function: the simple form of HTTP APIs,
// {"isAuthorized": true, "context": {…}}, if simple is set, and otherwise a policy document.
func ReadAuthorization(doc []byte, simple bool) (*Authorization, error) {
	var a struct {
		IsAuthorized   *bool                            `json:"isAuthorized"`
		PrincipalID    *string                          `json:"principalId"`
		PolicyDocument *struct{ Statement []statement } `json:"policyDocument"`
		Context        map[string]json.RawMessage       `json:"context"`
	}
	if err := json.Unmarshal(doc, &a); err != nil {
		return nil, fmt.Errorf("reading the authorizer's answer: %w", err)
	}
	for k, v := range a.Context {
		if !simple && (v[0] == '{' || v[0] == '[') {
			return nil, fmt.Errorf("reading the authorizer's answer: context.%s must be a string, number or boolean", k)
		}
	}
	if simple {
		if a.IsAuthorized == nil {
			return nil, errors.New("reading the authorizer's answer: isAuthorized is missing")
		}
		return &Authorization{Context: a.Context, simple: true, allowed: *a.IsAuthorized}, nil
	}
	if a.PrincipalID == nil || a.PolicyDocument == nil {
		return nil, errors.New("reading the authorizer's answer: principalId or policyDocument is missing")
	}
	for i, s := range a.PolicyDocument.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, fmt.Errorf("reading the authorizer's answer: the Effect of statement %d is neither Allow nor Deny", i)
		}
	}
	return &Authorization{PrincipalID: *a.PrincipalID, Context: a.Context, statements: a.PolicyDocument.Statement}, nil
}

// Decide tells whether the request that arn stands for may be invoked. Conditions of statements can not be
// evaluated: an Allow with one never holds, a Deny with one always does.
func (a *Authorization) Decide(arn string) Decision {
	if a.simple {
		if a.allowed {
			return Allow
		}
		return ExplicitDeny
	}
	d := ImplicitDeny
	for _, s := range a.statements {
		if !s.covers(arn) {
			continue
		}
		if s.Effect == "Deny" {
			return ExplicitDeny
		}
		if len(s.Condition) == 0 || string(s.Condition) == "null" || string(s.Condition) == "{}" {
			d = Allow
		}
	}
	return d
}

func (s *statement) covers(arn string) bool {
	const action = "execute-api:Invoke"
	return (s.Action.match(action, true) || s.NotAction != nil && !s.NotAction.match(action, true)) &&
		(s.Resource.match(arn, false) || s.NotResource != nil && !s.NotResource.match(arn, false))
}

func (o oneOrMany) match(text string, fold bool) bool {
	for _, p := range o {
		if fold {
			p, text = strings.ToLower(p), strings.ToLower(text)
		}
		if wildcard(p, text) {
			return true
		}
	}
	return false
}

// wildcard matches text to a pattern in which * stands for any text and ? for any one byte. It tries again
// only from the last *, so that it is never worse than the product of the lengths.
func wildcard(pattern, text string) bool {
	star, mark := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
