package s3

import (
	"encoding/base64"
	"encoding/xml"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestJoinedChecksumIsThatOfTheWhole(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	whole := make([]byte, 100_000)
	random.Read(whole)
	for _, a := range algorithms {
		if a.polynomial == 0 {
			continue
		}
		for _, cuts := range [][]int{{0, 100_000}, {0, 1, 100_000}, {0, 0, 50_000, 50_000, 99_999, 100_000}, {0, 12_345, 67_890, 100_000}} {
			var parts []partInfo
			for i := range len(cuts) - 1 {
				h := a.make()
				h.Write(whole[cuts[i]:cuts[i+1]])
				parts = append(parts, partInfo{Size: int64(cuts[i+1] - cuts[i]), Sum: a.encode(h)})
			}
			h := a.make()
			h.Write(whole)
			got, err := a.whole(fullObject, parts)
			if err != nil || got.Value != a.encode(h) {
				t.Errorf("%s cut at %v: %q %v, want %q", a.name, cuts, got.Value, err, a.encode(h))
			}
		}
	}
}

func TestAddressOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, path string
		want       address
	}{
		{"127.0.0.1:4566", "/", address{}},
		{"127.0.0.1:4566", "/bucket", address{bucket: "bucket"}},
		{"127.0.0.1:4566", "/bucket/", address{bucket: "bucket"}},
		{"127.0.0.1", "/bucket//a//b/", address{bucket: "bucket", key: "/a//b/"}},
		{"[::1]:4566", "/bucket/a", address{bucket: "bucket", key: "a"}},
		{"localhost:4566", "/bucket/a", address{bucket: "bucket", key: "a"}},
		{"millrace:4566", "/bucket/a", address{bucket: "bucket", key: "a"}},
		{"stack.example.com", "/bucket/a", address{bucket: "bucket", key: "a"}},
		{"bucket.localhost:4566", "/a/b", address{bucket: "bucket", key: "a/b", virtual: true}},
		{"my.bucket.localhost", "/", address{bucket: "my.bucket", virtual: true}},
		{"s3.localhost:4566", "/bucket/a", address{bucket: "bucket", key: "a"}},
		{"bucket.s3.localhost:4566", "/a", address{bucket: "bucket", key: "a", virtual: true}},
		{"bucket.s3.amazonaws.com", "/a", address{bucket: "bucket", key: "a", virtual: true}},
		{"my.s3.bucket.s3.eu-west-1.amazonaws.com", "/a", address{bucket: "my.s3.bucket", key: "a", virtual: true}},
		{"bucket.s3-eu-west-1.amazonaws.com", "/a", address{bucket: "bucket", key: "a", virtual: true}},
		{"s3.eu-west-1.amazonaws.com", "/bucket/a", address{bucket: "bucket", key: "a"}},
	} {
		if got := addressOf(c.host, c.path); got != c.want {
			t.Errorf("%s %s: %+v", c.host, c.path, got)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("bucket.s3.localhost:4566", "/a/b", "list-type=2&prefix=a%20b")
	f.Add("", "", "&=&a=%zz&uploads")
	f.Fuzz(func(t *testing.T, host, path, query string) {
		a := addressOf(host, path)
		if a.virtual && !strings.Contains(strings.ToLower(host), a.bucket) || !strings.HasSuffix(path, a.key) {
			t.Errorf("%+v of %q %q", a, host, path)
		}
		for _, p := range parseParams(query) {
			if !parseParams(query).has(p.name) {
				t.Errorf("%q has no %q", query, p.name)
			}
		}
	})
}

func FuzzXML(f *testing.F) {
	for _, s := range []string{
		`<NotificationConfiguration><QueueConfiguration><Id>a</Id><Queue>arn:aws:sqs:us-east-1:000000000000:q</Queue><Event>s3:ObjectCreated:*</Event>` +
			`<Filter><S3Key><FilterRule><Name>prefix</Name><Value>a</Value></FilterRule></S3Key></Filter></QueueConfiguration><EventBridgeConfiguration/></NotificationConfiguration>`,
		`<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`,
		`<AccessControlPolicy><Owner><ID>a</ID></Owner><AccessControlList><Grant><Grantee type="Group"><URI>u</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`,
		`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, `<a><b></a>`, `<?xml version="1.0"?><a/><b/>`, "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parseXML(text)
		if err != nil {
			return
		}
		b := &bucket{settings: settings{Region: "us-east-1"}}
		if config, err := parseNotification(n, b); err == nil {
			for i := range config.Rules {
				if r := &config.Rules[i]; r.ID == "" || kindOf(r.Target) == nil || len(r.Events) == 0 {
					t.Errorf("accepted %+v", r)
				}
			}
		}
		if tags, err := parseTags(n, objectTags); err == nil && len(tags) > objectTags {
			t.Errorf("accepted %d tags", len(tags))
		}
		if list, err := parsePolicy(text, "000000000000"); err == nil && !list.Set {
			t.Error("accepted a list that is none")
		}
	})
}

// FuzzEscape has a parser give back what was written.
func FuzzEscape(f *testing.F) {
	f.Add("a<b>&\"c'\u00e9\U0001F600\t\n")
	f.Fuzz(func(t *testing.T, s string) {
		d := newDocument()
		d.text("x", s)
		var back struct {
			Text string `xml:",chardata"`
		}
		clean := utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
			return r < ' ' && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF || r == '\r'
		})
		if err := xml.Unmarshal(d.Bytes(), &back); clean && (err != nil || back.Text != s) {
			t.Errorf("%q came back as %q: %v", s, back.Text, err)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-1", int64(10))
	f.Add("bytes=-0", int64(0))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(1)<<62)
	f.Fuzz(func(t *testing.T, text string, size int64) {
		if size < 0 {
			return
		}
		first, last, ok := parseRange(text, size)
		if ok && (first < 0 || last >= size) {
			t.Errorf("%q of %d: %d to %d", text, size, first, last)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add(`{"expiration":"2030-01-01T00:00:00Z","conditions":[{"bucket":"b"},["starts-with","$key","a"],["content-length-range",1,10]]}`, "abc")
	f.Add(`{"expiration":"2030-01-01T00:00:00Z","conditions":[["eq"],[1,2,3],{"key":1},7]}`, "")
	f.Fuzz(func(t *testing.T, policy, key string) {
		form := &form{fields: map[string]string{"key": key, "policy": ""}}
		least, most, err := form.hold(base64.StdEncoding.EncodeToString([]byte(policy)), "b", key, time.Unix(0, 0))
		if err == nil && (least < 0 || most < 0 || most > maxUpload) {
			t.Errorf("%d to %d", least, most)
		}
	})
}

func TestPolicyOfForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ conditions, extra, want string }{
		{`{"bucket":"b"},{"key":"k"}`, "", ""},
		{`["eq","$bucket","b"],["starts-with","$key",""]`, "", ""},
		{`{"bucket":"other"},{"key":"k"}`, "", `Policy Condition failed: ["eq", "$bucket", "other"]`},
		{`["eq","key","k"]`, "", `Policy Condition failed: ["eq", "key", "k"]`},
		{`["starts-with","$key","x"]`, "", `Policy Condition failed: ["starts-with", "$key", "x"]`},
		{`["content-length-range","test",10]`, "", `Policy Condition failed: ["content-length-range", "test", 10]`},
		{`["eq","$key"]`, "", "wrong number of arguments"},
		{`7`, "", "Invalid JSON"},
		{`{"key":"k"}`, "acl", "Extra input fields: acl"},
		{`{"key":"k"}`, "x-ignore-me", ""},
		{`{"key":"k"},["starts-with","$acl",""]`, "acl", ""},
	} {
		f := &form{fields: map[string]string{"key": "k"}}
		if c.extra != "" {
			f.fields[c.extra] = "x"
		}
		text := `{"expiration":"2026-01-01T00:00:01Z","conditions":[` + c.conditions + `]}`
		_, _, err := f.hold(base64.StdEncoding.EncodeToString([]byte(text)), "b", "k", now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.conditions, err, c.want)
		}
		if _, _, err := f.hold(base64.StdEncoding.EncodeToString([]byte(text)), "b", "k", now.Add(time.Minute)); err == nil || !strings.Contains(err.Error(), "Policy expired.") {
			t.Errorf("late: %v", err)
		}
	}
}

func BenchmarkJoinCRC(b *testing.B) {
	for b.Loop() {
		joinCRC(crc32.IEEE, 32, 1, 2, 5<<20)
	}
}
