// Package policy reads resource policies and decides whether they let a service in, by the rules of
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html. There are no identity
// policies in the local stack, so a resource's own policy is all that is asked.
package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Policy is a policy document.
type Policy struct {
	Version   string     `json:"Version"`
	ID        string     `json:"Id"`
	Statement statements `json:"Statement"`
}

// statements is a list of statements, or a single one.
type statements []statement

func (s *statements) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '{' {
		*s = make([]statement, 1)
		return json.UnmarshalDecode(d, &(*s)[0])
	}
	return json.UnmarshalDecode(d, (*[]statement)(s))
}

type statement struct {
	SID          string                        `json:"Sid"`
	Effect       string                        `json:"Effect"`
	Principal    *principal                    `json:"Principal"`
	NotPrincipal *principal                    `json:"NotPrincipal"`
	Action       oneOrMore                     `json:"Action"`
	NotAction    oneOrMore                     `json:"NotAction"`
	Resource     oneOrMore                     `json:"Resource"`
	NotResource  oneOrMore                     `json:"NotResource"`
	Condition    map[string]map[string]anyList `json:"Condition"`
}

// Request is what is asked of a policy.
type Request struct {
	Principal string // a service, "sns.amazonaws.com", or an account's 12 digits
	Action    string // "sqs:SendMessage"
	Resource  string // ARN
	// Context has the condition keys that the caller brings, in lower case: "aws:sourcearn".
	Context map[string]string
}

// Parse reads a document. The error says what is wrong with it.
func Parse(doc []byte) (*Policy, error) {
	p := new(Policy)
	if err := json.Unmarshal(doc, p, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("the policy is not a policy document: %w", err)
	}
	if p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return nil, fmt.Errorf("the policy's Version is %q; 2012-10-17 and 2008-10-17 exist", p.Version)
	}
	if len(p.Statement) == 0 {
		return nil, fmt.Errorf("the policy has no Statement")
	}
	for i, s := range p.Statement {
		switch where := fmt.Sprintf("statement %d of the policy", i+1); {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return nil, fmt.Errorf("%s has the Effect %q; Allow and Deny exist", where, s.Effect)
		case (s.Principal == nil) == (s.NotPrincipal == nil):
			return nil, fmt.Errorf("%s needs either Principal or NotPrincipal", where)
		case (s.Action == nil) == (s.NotAction == nil):
			return nil, fmt.Errorf("%s needs either Action or NotAction", where)
		case s.Resource != nil && s.NotResource != nil:
			return nil, fmt.Errorf("%s has both Resource and NotResource", where)
		default:
			for operator := range s.Condition {
				if _, err := test(operator); err != nil {
					return nil, fmt.Errorf("%s: %w", where, err)
				}
			}
		}
	}
	return p, nil
}

// Allows reports whether a statement allows the request and none denies it. A nil policy allows nothing.
func (p *Policy) Allows(r Request) bool {
	if p == nil {
		return false
	}
	allowed := false
	for i := range p.Statement {
		s := &p.Statement[i]
		if !s.applies(r) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s *statement) applies(r Request) bool {
	if s.Principal != nil && !s.Principal.is(r.Principal) || s.NotPrincipal != nil && s.NotPrincipal.is(r.Principal) {
		return false
	}
	action := func(a string) bool { return Like(strings.ToLower(a), strings.ToLower(r.Action)) }
	resource := func(a string) bool { return Like(a, r.Resource) }
	switch {
	case s.Action != nil && !slices.ContainsFunc(s.Action, action),
		s.NotAction != nil && slices.ContainsFunc(s.NotAction, action),
		s.Resource != nil && !slices.ContainsFunc(s.Resource, resource),
		s.NotResource != nil && slices.ContainsFunc(s.NotResource, resource):
		return false
	}
	for operator, keys := range s.Condition {
		holds, _ := test(operator) // Parse has refused unknown ones
		for key, want := range keys {
			got, present := r.Context[strings.ToLower(key)]
			if !holds(got, present, want) {
				return false
			}
		}
	}
	return true
}

// test returns the meaning of a condition operator: whether a key that is present, or not, fits one of the values.
func test(operator string) (func(got string, present bool, want anyList) bool, error) {
	name, ifExists := strings.CutSuffix(operator, "IfExists")
	if _, after, ok := strings.Cut(name, ":"); ok { // ForAnyValue, ForAllValues: our keys have one value each
		name = after
	}
	if name == "Null" {
		return func(_ string, present bool, want anyList) bool {
			return slices.Contains(want, strconv.FormatBool(!present))
		}, nil
	}
	base, not := name, false
	for _, n := range []string{"StringNot", "ArnNot", "NumericNot", "DateNot"} {
		if rest, ok := strings.CutPrefix(name, n); ok {
			base, not = strings.TrimSuffix(n, "Not")+rest, true
		}
	}
	if name == "NotIpAddress" {
		base, not = "IpAddress", true
	}
	fits, ok := operators[base]
	if !ok {
		return nil, fmt.Errorf("the condition operator %q does not exist", operator)
	}
	return func(got string, present bool, want anyList) bool {
		if !present {
			return ifExists || not
		}
		return slices.ContainsFunc(want, func(w string) bool { return fits(got, w) }) != not
	}, nil
}

var operators = map[string]func(got, want string) bool{
	"StringEquals":             func(got, want string) bool { return got == want },
	"StringEqualsIgnoreCase":   strings.EqualFold,
	"StringLike":               func(got, want string) bool { return Like(want, got) },
	"ArnEquals":                func(got, want string) bool { return Like(want, got) },
	"ArnLike":                  func(got, want string) bool { return Like(want, got) },
	"Bool":                     strings.EqualFold,
	"IpAddress":                inRange,
	"NumericEquals":            func(got, want string) bool { c, ok := numbers(got, want); return ok && c == 0 },
	"NumericLessThan":          func(got, want string) bool { c, ok := numbers(got, want); return ok && c < 0 },
	"NumericLessThanEquals":    func(got, want string) bool { c, ok := numbers(got, want); return ok && c <= 0 },
	"NumericGreaterThan":       func(got, want string) bool { c, ok := numbers(got, want); return ok && c > 0 },
	"NumericGreaterThanEquals": func(got, want string) bool { c, ok := numbers(got, want); return ok && c >= 0 },
	"DateEquals":               func(got, want string) bool { c, ok := dates(got, want); return ok && c == 0 },
	"DateLessThan":             func(got, want string) bool { c, ok := dates(got, want); return ok && c < 0 },
	"DateLessThanEquals":       func(got, want string) bool { c, ok := dates(got, want); return ok && c <= 0 },
	"DateGreaterThan":          func(got, want string) bool { c, ok := dates(got, want); return ok && c > 0 },
	"DateGreaterThanEquals":    func(got, want string) bool { c, ok := dates(got, want); return ok && c >= 0 },
}

func numbers(a, b string) (int, bool) {
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err != nil || err2 != nil {
		return 0, false
	}
	switch {
	case x < y:
		return -1, true
	case x > y:
		return 1, true
	}
	return 0, true
}

func dates(a, b string) (int, bool) {
	x, err := time.Parse(time.RFC3339, a)
	y, err2 := time.Parse(time.RFC3339, b)
	return x.Compare(y), err == nil && err2 == nil
}

func inRange(got, want string) bool {
	ip, err := netip.ParseAddr(got)
	if err != nil {
		return false
	}
	if p, err := netip.ParsePrefix(want); err == nil {
		return p.Contains(ip)
	}
	one, err := netip.ParseAddr(want)
	return err == nil && one == ip
}

// Like reports whether text fits a pattern in which * stands for any text and ? for any character.
func Like(pattern, text string) bool {
	star, mark, p, t := -1, 0, 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// principal is "*" or a map of kinds to names.
type principal struct {
	all   bool
	names map[string]oneOrMore
}

func (p *principal) UnmarshalJSON(b []byte) error {
	if string(b) == `"*"` {
		p.all = true
		return nil
	}
	if err := json.Unmarshal(b, &p.names); err != nil {
		return err
	}
	for kind := range p.names {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, kind) {
			return fmt.Errorf("the kind of principal %q does not exist", kind)
		}
	}
	return nil
}

func (p *principal) is(who string) bool {
	if p.all || slices.Contains(p.names["AWS"], "*") || slices.Contains(p.names["Service"], who) {
		return true
	}
	return slices.ContainsFunc(p.names["AWS"], func(name string) bool { return name == who || name == "arn:aws:iam::"+who+":root" })
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*o = make([]string, 1)
		return json.Unmarshal(b, &(*o)[0])
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// anyList is a string, number or boolean, or a list of them, as texts.
type anyList []string

func (a *anyList) UnmarshalJSON(b []byte) error {
	var list []jsontext.Value
	if len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
	} else {
		list = []jsontext.Value{b}
	}
	for _, v := range list {
		switch v.Kind() {
		case '"':
			var s string
			if err := json.Unmarshal(v, &s); err != nil {
				return err
			}
			*a = append(*a, s)
		case '0', 't', 'f':
			*a = append(*a, strings.TrimSpace(string(v)))
		default:
			return fmt.Errorf("a condition's value is %s; a string, number or boolean is needed", v)
		}
	}
	return nil
}
