package wire

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/url"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestQueryReadsEveryKindOfMember(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, form string
		want       all
	}{
		{"nothing", "", all{}},
		{"text", "Text=a%20b+c%0A&Maybe=", all{Text: "a b c\n", Maybe: ptr("")}},
		{"numbers", "Number=-9223372036854775808&Small=7&Real=0.5", all{Number: -1 << 63, Small: ptr[int32](7), Real: 0.5}},
		{"booleans", "Flag=true&Choice=False", all{Flag: true, Choice: ptr(false)}},
		{"blob", "Blob=AP%2F%2B", all{Blob: []byte{0, 255, 254}}},
		{"time", "At=2026-01-02T12%3A00%3A00.250Z&Until=2026-01-02T13%3A00%3A00.25%2B01%3A00", all{At: Time{noon}, Until: &Time{noon}}},
		{"list", "List.member.2=b&List.member.1=a&List.member.3=", all{List: []string{"a", "b", ""}}},
		{"a list of more than nine", "List.member.1=1&List.member.2=2&List.member.3=3&List.member.4=4&List.member.5=5&List.member.6=6" +
			"&List.member.7=7&List.member.8=8&List.member.9=9&List.member.10=10&List.member.11=11",
			all{List: []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"}}},
		{"a list ends at a gap", "List.member.1=a&List.member.3=c", all{List: []string{"a"}}},
		{"an empty list", "List=", all{}},
		{"flat list", "FlatName.1=a&FlatName.2=b", all{Flat: []string{"a", "b"}}},
		{"map", "Map.entry.1.key=k&Map.entry.1.value=v&Map.entry.2.key=l", all{Map: map[string]string{"k": "v", "l": ""}}},
		{"map of structs with names of its own", "Entries.entry.1.Name=k&Entries.entry.1.Value.Id=v&Entries.entry.1.Value.Count=3",
			all{Entries: map[string]nested{"k": {ID: "v", Count: 3}}}},
		{"flat map", "FlatEntry.1.Name=k.with.dots&FlatEntry.1.Value=v", all{FlatMap: map[string]string{"k.with.dots": "v"}}},
		{"struct", "Nested.Id=x&Nested.Blob=AA%3D%3D&Nested.Tag.1.Key=k&Nested.Tag.1.Value=v",
			all{Nested: &nested{ID: "x", Blob: []byte{0}, Tags: map[string]string{"k": "v"}}}},
		{"list of structs", "Batch.member.1.Id=a&Batch.member.1.More.member.1.Id=deep&Batch.member.2.Count=2",
			all{Batch: []nested{{ID: "a", More: []nested{{ID: "deep"}}}, {Count: 2}}}},
		{"list of pointers", "Pair.1.Id=a", all{Pairs: []*nested{{ID: "a"}}}},
		{"what no member is called", "text=a&Private=b&hidden=c&Flat.1=d&Action=Echo&Version=1&.=e&..=f&=g", all{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			values, err := url.ParseQuery(c.form)
			if err != nil {
				t.Fatal(err)
			}
			var got all
			if err := decodeQuery(values, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestQueryRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ form, code, says string }{
		{"Number=x", "MalformedInput", `Number: "x" is not a whole number`},
		{"Number=9223372036854775808", "MalformedInput", "Number"},
		{"Small=2147483648", "MalformedInput", "Small"},
		{"Number=", "MalformedInput", "Number"},
		{"Number.1=5", "MalformedInput", "Number"},
		{"Real=half", "MalformedInput", "is not a number"},
		{"Flag=yes", "MalformedInput", "is not true or false"},
		{"Blob=%25", "MalformedInput", "Blob: the value is not base64"},
		{"At=yesterday", "MalformedInput", "At: \"yesterday\" is not an ISO 8601 timestamp"},
		{"Batch.member.1.Count=x", "MalformedInput", `Batch.1.Count: "x" is not a whole number`},
		{"Map.entry.1.value=v", "MalformedInput", "Map.1.key is missing"},
		{strings.Repeat("a.", 20) + "a=1", "MalformedQueryString", "nested too deeply"},
	} {
		values, err := url.ParseQuery(c.form)
		if err != nil {
			t.Fatal(err)
		}
		err = decodeQuery(values, new(all))
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: %v, want %s with %q", c.form, err, c.code, c.says)
		}
	}
}

// TestQueryTakesNoMoreMemoryThanItsSizeAllows sends the forms that are worst for their size.
func TestQueryTakesNoMoreMemoryThanItsSizeAllows(t *testing.T) { // it measures, so it runs alone
	var deep, many strings.Builder
	for i := range 9_000 {
		for n := range maxNames - 1 {
			deep.WriteString(strconv.Itoa(i*10+n) + ".")
		}
		deep.WriteString("x&")
	}
	for i := range 1_000_000 {
		many.WriteString("a" + strconv.Itoa(i) + "&")
	}
	d := dispatcher(Service{Name: "sns", QueryVersion: "1", Operations: []Operation{echoes("Echo")}})
	for _, c := range []struct {
		name, form string
		status     int
	}{
		{"nested", deep.String(), 200},
		{"many", many.String(), 400},
		{"deeper", strings.Repeat(".", 1<<20), 400},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := send(t, d, "POST", "/", "Action=Echo&Version=1&"+c.form, "Content-Type", formType)
		runtime.ReadMemStats(&after)
		if got.status != c.status {
			t.Errorf("%s: status %d, want %d: %.200s", c.name, got.status, c.status, got.body)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
			t.Errorf("%s: %d bytes of input made us allocate %d", c.name, len(c.form), n)
		}
	}
}

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Text     string    `xml:",chardata"`
	Children []element `xml:",any"`
}

func (e element) child(t *testing.T, path ...string) element {
	t.Helper()
	for _, p := range path {
		i := 0
		for i < len(e.Children) && e.Children[i].XMLName.Local != p {
			i++
		}
		if i == len(e.Children) {
			t.Fatalf("<%s> has no <%s>", e.XMLName.Local, p)
		}
		e = e.Children[i]
	}
	return e
}

func (e element) names() (list []string) {
	for _, c := range e.Children {
		list = append(list, c.XMLName.Local)
	}
	return list
}

func TestQueryAnswersInXML(t *testing.T) {
	t.Parallel()
	out := all{
		Text: "a<b>&\"\r\n\t\x01é", Maybe: ptr(""), Number: 5, Choice: ptr(false), Blob: []byte("blob"), At: Time{noon},
		List: []string{"x", ""}, Flat: []string{"f1", "f2"}, Map: map[string]string{"b": "2", "a": "1"},
		Entries: map[string]nested{"k": {Count: 1}}, FlatMap: map[string]string{"k": "v"},
		Nested: &nested{ID: "n"}, Batch: []nested{{ID: "1"}, {ID: "2"}}, Real: 2.5,
	}
	d := dispatcher(Service{Name: "sns", QueryVersion: "2010-03-31", QueryNamespace: "http://ns/", Operations: []Operation{
		Op("Give", func(context.Context, *Request, *None) (*all, error) { return &out, nil }),
	}})
	got := send(t, d, "POST", "/", "Action=Give&Version=2010-03-31", "Content-Type", formType)
	if got.status != 200 || got.header.Get("Content-Type") != "text/xml" {
		t.Fatalf("%d %s", got.status, got.header)
	}
	if n := got.header.Get("Content-Length"); n != strconv.Itoa(len(got.body)) {
		t.Errorf("Content-Length %s for %d bytes", n, len(got.body))
	}
	var root element
	if err := xml.Unmarshal([]byte(got.body), &root); err != nil {
		t.Fatalf("%v in %s", err, got.body)
	}
	if root.XMLName != (xml.Name{Space: "http://ns/", Local: "GiveResponse"}) {
		t.Errorf("the root is %v", root.XMLName)
	}
	if id := root.child(t, "ResponseMetadata", "RequestId").Text; id == "" || id != got.header.Get("X-Amzn-Requestid") {
		t.Errorf("request id %q in the body, %q in the header", id, got.header.Get("X-Amzn-Requestid"))
	}
	r := root.child(t, "GiveResult")
	wantNames := []string{"Text", "Maybe", "Number", "Real", "Choice", "Blob", "At", "List", "FlatName", "FlatName", "Map",
		"Entries", "FlatEntry", "Nested", "Batch"}
	if got := r.names(); !reflect.DeepEqual(got, wantNames) {
		t.Errorf("members %v, want %v", got, wantNames)
	}
	for _, c := range []struct {
		path []string
		want string
	}{
		{[]string{"Text"}, "a<b>&\"\r\n\t�é"},
		{[]string{"Number"}, "5"},
		{[]string{"Real"}, "2.5"},
		{[]string{"Choice"}, "false"},
		{[]string{"Blob"}, "YmxvYg=="},
		{[]string{"At"}, "2026-01-02T12:00:00.250Z"},
		{[]string{"List", "member"}, "x"},
		{[]string{"FlatName"}, "f1"},
		{[]string{"Map", "entry", "key"}, "a"},
		{[]string{"Map", "entry", "value"}, "1"},
		{[]string{"Entries", "entry", "Name"}, "k"},
		{[]string{"Entries", "entry", "Value", "Count"}, "1"},
		{[]string{"FlatEntry", "Value"}, "v"},
		{[]string{"Nested", "Id"}, "n"},
		{[]string{"Batch", "member", "Id"}, "1"},
	} {
		if got := r.child(t, c.path...).Text; got != c.want {
			t.Errorf("%v is %q, want %q", c.path, got, c.want)
		}
	}
}

func TestQueryTellsAnEmptyResultFromNone(t *testing.T) {
	t.Parallel()
	type empty struct{}
	type lists struct {
		Items []string          `json:"Items"`
		Map   map[string]string `json:"Map"`
	}
	d := dispatcher(Service{Name: "sns", QueryVersion: "1", Operations: []Operation{
		Op("Tag", func(context.Context, *Request, *None) (*empty, error) { return new(empty), nil }),
		Op("Delete", func(context.Context, *Request, *None) (*None, error) { return new(None), nil }),
		Op("List", func(context.Context, *Request, *None) (*lists, error) { return new(lists), nil }),
	}})
	for action, want := range map[string]string{
		"Tag":    "<TagResult></TagResult>",
		"Delete": `<DeleteResponse xmlns=""><ResponseMetadata>`,
		"List":   "<ListResult><Items></Items><Map></Map></ListResult>",
	} {
		if got := send(t, d, "POST", "/", "Action="+action+"&Version=1", "Content-Type", formType); !strings.Contains(got.body, want) {
			t.Errorf("%s: %s lacks %s", action, got.body, want)
		}
	}
}

func TestQueryAnswersErrorsInXML(t *testing.T) {
	t.Parallel()
	operations := []Operation{
		failing("Mine", &Error{Code: "Q", QueryCode: "AWS.Q", Message: "no <queue> & no\nline", Status: 404}),
		failing("Broken", errors.New("disk on fire")),
	}
	plain := dispatcher(Service{Name: "sns", QueryVersion: "1", QueryNamespace: "http://ns/", Operations: operations})
	detail := dispatcher(Service{Name: "sqs", QueryVersion: "1", QueryNamespace: "http://ns/", QueryDetail: true, Operations: operations})
	for _, c := range []struct {
		d                             *Dispatcher
		action                        string
		status                        int
		code, message, fault, members string
	}{
		{plain, "Mine", 404, "AWS.Q", "no <queue> & no\nline", "Sender", "Type Code Message"},
		{detail, "Mine", 404, "AWS.Q", "no <queue> & no\nline", "Sender", "Type Code Message Detail"},
		{plain, "Broken", 500, "InternalFailure", "disk on fire", "Receiver", "Type Code Message"},
		{plain, "Subscribe", 400, "InvalidAction", "millrace's local stack does not have the operation Subscribe of sns.", "Sender", "Type Code Message"},
	} {
		got := send(t, c.d, "POST", "/", "Action="+c.action+"&Version=1", "Content-Type", formType)
		var root element
		if err := xml.Unmarshal([]byte(got.body), &root); err != nil {
			t.Fatalf("%v in %s", err, got.body)
		}
		e := root.child(t, "Error")
		if got.status != c.status || root.XMLName.Local != "ErrorResponse" || root.XMLName.Space != "http://ns/" ||
			e.child(t, "Code").Text != c.code || e.child(t, "Message").Text != c.message || e.child(t, "Type").Text != c.fault ||
			strings.Join(e.names(), " ") != c.members || root.child(t, "RequestId").Text != got.header.Get("X-Amzn-Requestid") {
			t.Errorf("%s: %d %s, want %+v", c.action, got.status, got.body, c)
		}
	}
}

// FuzzQuery reads any form, and reads back as XML what it has understood.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"Text=a&Number=1&Flag=true", "List.member.1=a&Map.entry.1.key=k", "Batch.member.1.More.member.1.More.member.1.Id=x",
		"At=2026-01-02T12:00:00Z&Blob=AAAA", "..=1&.1=2&1.=3", "Entries.entry.1.Name=a&Entries.entry.1.Value.Tag.1.Key=b", "Text=%00%ff",
		"FlatEntry.1.Name=x&FlatEntry.01.Name=y&Pair.1=z", "At=0000-01-01T00:00:00Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, form string) {
		values, err := url.ParseQuery(form)
		if err != nil {
			return
		}
		var in all
		if err := decodeQuery(values, &in); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("not an *Error: %v", err)
			}
			return
		}
		var b bytes.Buffer
		x := &exchange{service: &service{}}
		x.Operation = "Echo"
		if err := encodeQuery(&b, x, &in); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(&b)
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	})
}
