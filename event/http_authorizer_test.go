package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/fixtures"
)

func TestAuthorizerDocumentsHaveTheFormOfTheSamples(t *testing.T) {
	t.Parallel()
	t.Run("token", func(t *testing.T) {
		t.Parallel()
		want := parse(t, fixtures.Read(t, "aws-lambda-go/apigw-custom-auth-request.json"))
		same(t, event.AppendTokenAuthorizer(nil, want.str("methodArn"), want.str("authorizationToken")), want)
	})
	t.Run("2.0", func(t *testing.T) {
		t.Parallel()
		want := parse(t, fixtures.Read(t, "aws-lambda-go/apigw-v2-custom-authorizer-v2-request.json"))
		r := want.v2(t)
		delete(want.obj("requestContext"), "authentication")
		want.obj("requestContext")["time"] = r.Time.UTC().Format("02/Jan/2006:15:04:05 +0000")
		for k, v := range want.obj("headers") {
			delete(want.obj("headers"), k)
			want.obj("headers")[strings.ToLower(k)] = v
		}
		var sources []string
		for _, s := range anyList(want["identitySource"]) {
			sources = append(sources, s.(string))
		}
		same(t, event.AppendHTTPAPIAuthorizer(nil, r, want.str("routeArn"), sources), want)
	})
	t.Run("1.0", func(t *testing.T) {
		t.Parallel()
		want := parse(t, fixtures.Read(t, "aws-lambda-go/apigw-v2-custom-authorizer-v1-request.json"))
		r := want.v1(t)
		r.Headers = want.fields("headers")
		got := parse(t, event.AppendHTTPAPIv1Authorizer(nil, r, want.str("methodArn"), []string{"user1", "123"}))
		for k := range want { // the sample leaves half of the members out
			if k != "requestContext" && got[k] == nil && k != "pathParameters" && k != "queryStringParameters" {
				t.Errorf("%s is missing", k)
			}
		}
		if got.str("identitySource") != want.str("identitySource") || got.str("authorizationToken") != want.str("authorizationToken") {
			t.Errorf("identity %v", got["identitySource"])
		}
	})
}

const arn = "arn:aws:execute-api:us-east-1:123456789012:a1b2c3/prod/GET/orders/42"

func TestPoliciesDecide(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, statements string
		want             event.Decision
	}{
		{"no statement", ``, event.ImplicitDeny},
		{"allow all", `{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"*"}`, event.Allow},
		{"lists", `{"Effect":"Allow","Action":["s3:Get*","execute-api:*"],"Resource":["arn:x","arn:aws:execute-api:*/prod/GET/*"]}`, event.Allow},
		{"actions have no case", `{"Effect":"Allow","Action":"EXECUTE-API:invoke","Resource":"*"}`, event.Allow},
		{"resources have", `{"Effect":"Allow","Action":"*","Resource":"arn:aws:execute-api:*/PROD/*"}`, event.ImplicitDeny},
		{"another method", `{"Effect":"Allow","Action":"*","Resource":"*/POST/*"}`, event.ImplicitDeny},
		{"deny wins in any order", `{"Effect":"Deny","Action":"*","Resource":"*/42"},{"Effect":"Allow","Action":"*","Resource":"*"}`, event.ExplicitDeny},
		{"one character", `{"Effect":"Allow","Action":"*","Resource":"*/orders/4?"}`, event.Allow},
		{"exactly one character", `{"Effect":"Allow","Action":"*","Resource":"*/orders/42?"}`, event.ImplicitDeny},
		{"all but", `{"Effect":"Allow","NotAction":"s3:*","NotResource":"*/POST/*"}`, event.Allow},
		{"all but this", `{"Effect":"Allow","Action":"*","NotResource":"*/GET/*"}`, event.ImplicitDeny},
		{"an allowing condition never holds", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"a":"b"}}}`, event.ImplicitDeny},
		{"a denying condition always does", `{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"a":"b"}}}`, event.ExplicitDeny},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := `{"principalId":"me","policyDocument":{"Version":"2012-10-17","Statement":[` + c.statements + `]},"context":{"n":1,"s":"x","b":true}}`
			a, err := event.ReadAuthorization([]byte(doc), false)
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Decide(arn); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if string(a.Context["n"]) != "1" || a.PrincipalID != "me" {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestSimpleAuthorizations(t *testing.T) {
	t.Parallel()
	a, err := event.ReadAuthorization([]byte(`{"isAuthorized":true,"context":{"list":["a"]}}`), true)
	if err != nil || a.Decide(arn) != event.Allow {
		t.Errorf("%v, %v", a, err)
	}
	a, err = event.ReadAuthorization([]byte(`{"isAuthorized":false}`), true)
	if err != nil || a.Decide(arn) == event.Allow {
		t.Errorf("%v, %v", a, err)
	}
}

func TestAuthorizationsThatSayNothingAreErrors(t *testing.T) {
	t.Parallel()
	for doc, simple := range map[string]bool{
		`{}`: true, `{"isAuthorized":"true"}`: true, `"Allow"`: true, ``: true, `null`: true,
		`{"policyDocument":{"Statement":[]}}`: false,
		`{"principalId":"me"}`:                false,
		`{"principalId":"me","policyDocument":{"Statement":[{"Effect":"allow"}]}}`:                false,
		`{"principalId":"me","policyDocument":{"Statement":[]},"context":{"a":{}}}`:               false,
		`{"principalId":"me","policyDocument":{"Statement":[{"Effect":"Allow","Resource":[1]}]}}`: false,
	} {
		if a, err := event.ReadAuthorization([]byte(doc), simple); err == nil {
			t.Errorf("%s was read as %+v", doc, a)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add([]byte(`{"isAuthorized":true}`), "*a?b*", true)
	f.Add([]byte(`{"principalId":"me","policyDocument":{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}}`), arn, false)
	f.Fuzz(func(t *testing.T, doc []byte, arn string, simple bool) {
		a, err := event.ReadAuthorization(doc, simple)
		if err != nil {
			return
		}
		if a.Decide(arn) == event.Allow && !json.Valid(doc) {
			t.Errorf("%q allows", doc)
		}
	})
}
