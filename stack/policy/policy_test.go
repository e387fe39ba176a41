package policy_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/stack/policy"
)

const (
	queue = "arn:aws:sqs:us-east-1:000000000000:orders"
	topic = "arn:aws:sns:us-east-1:000000000000:news"
)

// statement is a policy of one statement with more members before its Resource.
func statement(members string) string {
	return `{"Version":"2012-10-17","Statement":[{` + members + `,"Resource":"` + queue + `"}]}`
}

func TestAllows(t *testing.T) {
	t.Parallel()
	allow := `"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage"`
	for name, c := range map[string]struct {
		doc  string
		want bool
	}{
		"a service":                {statement(allow), true},
		"a statement, not a list":  {`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}`, true},
		"everyone":                 {statement(`"Effect":"Allow","Principal":"*","Action":"*"`), true},
		"everyone as AWS":          {statement(`"Effect":"Allow","Principal":{"AWS":"*"},"Action":["SQS:Send*"]`), true},
		"another service":          {statement(`"Effect":"Allow","Principal":{"Service":["s3.amazonaws.com"]},"Action":"sqs:SendMessage"`), false},
		"another action":           {statement(`"Effect":"Allow","Principal":"*","Action":"sqs:ReceiveMessage"`), false},
		"all actions but one":      {statement(`"Effect":"Allow","Principal":"*","NotAction":"sqs:SendMessage"`), false},
		"all but the service":      {statement(`"Effect":"Allow","NotPrincipal":{"Service":"sns.amazonaws.com"},"Action":"*"`), false},
		"another resource":         {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:sqs:*:*:other"}]}`, false},
		"the source":               {statement(allow + `,"Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `"}}`), true},
		"the source by pattern":    {statement(allow + `,"Condition":{"ArnLike":{"AWS:sourcearn":["x","arn:aws:sns:*:*:n?ws"]}}`), true},
		"another source":           {statement(allow + `,"Condition":{"ArnEquals":{"aws:SourceArn":"` + topic + `2"}}`), false},
		"both conditions":          {statement(allow + `,"Condition":{"ArnLike":{"aws:SourceArn":"*"},"StringEquals":{"aws:SourceAccount":"1"}}`), false},
		"an absent key":            {statement(allow + `,"Condition":{"StringEquals":{"aws:PrincipalTag/x":"1"}}`), false},
		"an absent key, if there":  {statement(allow + `,"Condition":{"StringEqualsIfExists":{"aws:PrincipalTag/x":"1"}}`), true},
		"an absent key, negated":   {statement(allow + `,"Condition":{"StringNotEquals":{"aws:PrincipalTag/x":"1"}}`), true},
		"an absent key is null":    {statement(allow + `,"Condition":{"Null":{"aws:PrincipalTag/x":true}}`), true},
		"a negated pattern":        {statement(allow + `,"Condition":{"ArnNotLike":{"aws:SourceArn":"arn:aws:sns:*"}}`), false},
		"a number":                 {statement(allow + `,"Condition":{"NumericLessThan":{"x:size":10}}`), true},
		"a number too great":       {statement(allow + `,"Condition":{"NumericGreaterThanEquals":{"x:size":10}}`), false},
		"an address":               {statement(allow + `,"Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`), true},
		"not the address":          {statement(allow + `,"Condition":{"NotIpAddress":{"aws:SourceIp":"127.0.0.1"}}`), false},
		"a date":                   {statement(allow + `,"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}`), true},
		"denied though allowed":    {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"}]}`, false},
		"an account's root":        {statement(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"*"`), false},
		"a statement for no queue": {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := policy.Parse([]byte(c.doc))
			if err != nil {
				t.Fatal(err)
			}
			got := p.Allows(policy.Request{Principal: "sns.amazonaws.com", Action: "sqs:SendMessage", Resource: queue, Context: map[string]string{
				"aws:sourcearn": topic, "aws:sourceaccount": "000000000000", "aws:sourceip": "127.0.0.1",
				"aws:currenttime": "2026-06-01T00:00:00Z", "x:size": "9",
			}})
			if got != c.want {
				t.Errorf("allows: %t", got)
			}
		})
	}
	var none *policy.Policy
	if none.Allows(policy.Request{}) {
		t.Error("no policy allows something")
	}
	root, err := policy.Parse([]byte(statement(`"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111111111111:root","222222222222"]},"Action":"*"`)))
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]bool{"111111111111": true, "222222222222": true, "333333333333": false} {
		if got := root.Allows(policy.Request{Principal: account, Action: "sqs:SendMessage", Resource: queue}); got != want {
			t.Errorf("account %s: %t", account, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		``:                                    "not a policy document",
		`[]`:                                  "not a policy document",
		`{"Statement":[],"Extra":1}`:          "Extra",
		`{"Statement":[]}`:                    "no Statement",
		`{"Version":"2020","Statement":[{}]}`: "2012-10-17",
		statement(`"Effect":"Permit","Principal":"*","Action":"*"`):                               "Permit",
		statement(`"Effect":"Allow","Action":"*"`):                                                "Principal",
		statement(`"Effect":"Allow","Principal":"*"`):                                             "Action",
		statement(`"Effect":"Allow","Principal":{"Robot":"x"},"Action":"*"`):                      "Robot",
		statement(`"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Like":{"a":"b"}}`): `"Like"`,
		statement(`"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Bool":{"a":{}}}`):  "condition",
		statement(`"Effect":"Allow","Principal":"*","Action":"*","NotResource":"x"`):              "both",
	} {
		if _, err := policy.Parse([]byte(doc)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something with %q", doc, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(statement(`"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Bool":{"a":true}}`)))
	f.Fuzz(func(t *testing.T, doc []byte) {
		p, err := policy.Parse(doc)
		if err == nil {
			p.Allows(policy.Request{Principal: "x", Action: "a:b", Resource: "arn:x", Context: map[string]string{"a": "true"}})
		}
	})
}

func FuzzLike(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if strings.ContainsAny(text, "*?") {
			t.Skip()
		}
		if !strings.ContainsAny(pattern, "*?") && policy.Like(pattern, text) != (pattern == text) {
			t.Errorf("Like(%q, %q) without wildcards", pattern, text)
		}
		if !policy.Like("*", text) || !policy.Like("*"+text, text) || !policy.Like(text+"*", text) {
			t.Errorf("%q does not fit itself", text)
		}
	})
}
