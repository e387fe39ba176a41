package wire

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestRouteMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		route, method, path string
		want                []string
		ok                  bool
	}{
		{"GET /schedules", "GET", "/schedules", nil, true},
		{"GET /schedules", "GET", "/schedules/", nil, true},
		{"GET /schedules", "POST", "/schedules", nil, false},
		{"GET /schedules", "GET", "/schedules/a", nil, false},
		{"GET /schedules/{Name}", "GET", "/schedules/a%2Fb%20c", []string{"a/b c"}, true},
		{"GET /schedules/{Name}", "GET", "/schedules/", nil, false},
		{"GET /schedules/{Name}", "GET", "/schedules", nil, false},
		{"GET /schedules/{Name}", "GET", "/schedules/a/b", nil, false},
		{"GET /tags/{Arn+}", "GET", "/tags/arn:aws:x/y/z", []string{"arn:aws:x/y/z"}, true},
		{"GET /tags/{Arn+}", "GET", "/tags", nil, false},
		{"GET /a/{B}/c/{D}", "GET", "/a/1/c/2", []string{"1", "2"}, true},
		{"GET /a/{B}/c/{D}", "GET", "/a/1/x/2", nil, false},
		{"GET /a/{B}/c/{D}", "GET", "/a/1", nil, false},
	} {
		r := newRoute(c.route, nil)
		got, ok := r.match(c.method, c.path)
		if ok != c.ok || ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s for %s %s: %q, %t", c.route, c.method, c.path, got, ok)
		}
	}
}

type schedule struct {
	Name   string   `path:"Name" json:"-"`
	Group  *string  `uri:"groupName" json:"-"`
	Max    *int32   `uri:"MaxResults" json:"-"`
	Keys   []string `uri:"TagKeys" json:"-"`
	Force  bool     `uri:"force" json:"-"`
	Target string   `json:"Target"`
}

func scheduler(got *schedule) *Dispatcher {
	keep := func(_ context.Context, _ *Request, in *schedule) (*None, error) {
		*got = *in
		return new(None), nil
	}
	return dispatcher(Service{Name: "scheduler", Operations: []Operation{
		Op("CreateSchedule", keep).At("POST /schedules/{Name}"),
		Op("ListSchedules", keep).At("GET /schedules"),
		failing("GetSchedule", Errorf("ResourceNotFoundException", "no schedule")).At("GET /schedules/{Name}"),
	}})
}

func TestRESTReadsPathQueryAndBody(t *testing.T) {
	t.Parallel()
	var got schedule
	d := scheduler(&got)
	auth := credential("test", "eu-west-1", "scheduler")
	for _, c := range []struct {
		method, target, body string
		want                 schedule
	}{
		{"POST", "/schedules/a%2Fb?groupName=g%20h&force=true", `{"Target":"t","Name":"other"}`,
			schedule{Name: "a/b", Group: ptr("g h"), Force: true, Target: "t"}},
		{"GET", "/schedules?MaxResults=5&TagKeys=a&TagKeys=b", "", schedule{Max: ptr[int32](5), Keys: []string{"a", "b"}}},
		{"GET", "/schedules?groupName=", "", schedule{Group: ptr("")}},
	} {
		got = schedule{}
		r := send(t, d, c.method, c.target, c.body, "Authorization", auth)
		if r.status != 200 || r.body != "{}" || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %v", c.target, r.status, r.body, r.header)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.target, got, c.want)
		}
	}
}

func TestRESTRefusals(t *testing.T) {
	t.Parallel()
	d := scheduler(new(schedule))
	auth := credential("test", "eu-west-1", "scheduler")
	for _, c := range []struct{ method, target, body, code, says string }{
		{"GET", "/schedules/x", "", "ResourceNotFoundException", "no schedule"},
		{"GET", "/schedules?MaxResults=many", "", "MalformedInput", `MaxResults: "many" is not a whole number`},
		{"POST", "/schedules/x", "{", "SerializationException", "not valid JSON"},
		{"DELETE", "/schedules/x", "", "UnknownOperationException", "DELETE /schedules/x of scheduler"},
	} {
		r := send(t, d, c.method, c.target, c.body, "Authorization", auth)
		if r.status != http.StatusBadRequest || r.header.Get("X-Amzn-Errortype") != c.code || !strings.Contains(r.body, `"__type":"`+c.code+`"`) ||
			!strings.Contains(strings.ReplaceAll(r.body, `\"`, `"`), c.says) || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %s %v, want %s: %s", c.method, c.target, r.status, r.body, r.header, c.code, c.says)
		}
	}
}

// FuzzRoute matches any path as often as the route's form allows.
func FuzzRoute(f *testing.F) {
	f.Add("/schedules/a%2Fb")
	f.Add("//a//b/")
	f.Add("/%/%zz")
	f.Add("/tags/a/b/c")
	f.Fuzz(func(t *testing.T, path string) {
		one, rest := newRoute("GET /schedules/{Name}", nil), newRoute("GET /tags/{Arn+}", nil)
		for _, r := range []route{one, rest} {
			got, ok := r.match("GET", path)
			if !ok {
				continue
			}
			if len(got) != 1 || got[0] == "" {
				t.Fatalf("%q matches with %q", path, got)
			}
			if again, ok := r.match("GET", "/"+r.parts[0]+"/"+url.PathEscape(got[0])); !ok || again[0] != got[0] {
				t.Fatalf("%q gives %q, which gives %q", path, got, again)
			}
		}
	})
}
