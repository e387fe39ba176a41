package router

import (
	"encoding/json"
	"fmt"

	"testing"
)

// objectCreated is what S3 sends to EventBridge, of 750 bytes.
const objectCreated = `{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"Object Created","source":"aws.s3",` +
	`"account":"111122223333","time":"2026-11-12T00:00:00Z","region":"ca-central-1",` +
	`"resources":["arn:aws:s3:::amzn-s3-demo-bucket1"],"detail":{"version":"0","bucket":{"name":"amzn-s3-demo-bucket1"},` +
	`"object":{"key":"reports/2026/11/example-key.parquet","size":5242880,"etag":"b1946ac92492d2347c6235b4d2611184",` +
	`"version-id":"IYV3p45BT0ac8hjHg1houSdS1a.Mro8e","sequencer":"617f08299329d189"},"request-id":"N4N7GDK58NMKJ12R",` +
	`"requester":"123456789012","source-ip-address":"10.12.34.56","reason":"PutObject"}}`

const stateChange = `{"version":"0","id":"7bf73129-1428-4cd3-a780-95db273d1602","detail-type":"EC2 Instance State-change Notification",` +
	`"source":"aws.ec2","account":"123456789012","time":"2026-11-11T21:29:54Z","region":"us-east-1",` +
	`"resources":["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],` +
	`"detail":{"instance-id":"i-abcd1111","state":"pending"}}`

// realistic are n patterns as the rules of one bus have them.
func realistic(n int) []string {
	var all []string
	for i := 0; len(all) < n; i++ {
		switch i % 10 {
		case 0:
			all = append(all, fmt.Sprintf(`{"source":["aws.s3"],"detail-type":["Object Created"],"detail":{"bucket":{"name":["bucket-%d"]}}}`, i))
		case 1:
			all = append(all, fmt.Sprintf(`{"source":["aws.s3"],"detail-type":["Object Created","Object Deleted"],`+
				`"detail":{"bucket":{"name":["amzn-s3-demo-bucket1"]},"object":{"key":[{"prefix":"uploads/%d/"}]}}}`, i))
		case 2:
			all = append(all, fmt.Sprintf(`{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"],`+
				`"detail":{"state":["running","stopped"],"instance-id":["i-%08d"]}}`, i))
		case 3:
			all = append(all, fmt.Sprintf(`{"source":["app.orders"],"detail-type":["OrderPlaced"],"detail":{"total":[{"numeric":[">=",%d]}],`+
				`"currency":[{"anything-but":["EUR","USD"]}]}}`, i*10))
		case 4:
			all = append(all, fmt.Sprintf(`{"source":["aws.s3"],"detail":{"object":{"key":[{"suffix":".part%d"}],"size":[{"numeric":[">",%d]}]}}}`, i, i*1000))
		case 5:
			all = append(all, fmt.Sprintf(`{"account":["111122223333"],"source":[{"prefix":"app.team%d."}],"detail":{"error":[{"exists":true}]}}`, i))
		case 6:
			all = append(all, fmt.Sprintf(`{"source":["app.users"],"$or":[{"detail":{"tier":["gold"]}},{"detail":{"score":[{"numeric":[">",%d]}]}}]}`, i))
		case 7:
			all = append(all, fmt.Sprintf(`{"source":["aws.s3"],"detail-type":["Object Created"],"detail":{"object":{"key":[{"wildcard":"data/*/part-%d.parquet"}]}}}`, i))
		case 8:
			all = append(all, fmt.Sprintf(`{"source":["aws.s3"],"detail":{"requester":[{"anything-but":"12345678%04d"}],`+
				`"source-ip-address":[{"cidr":"192.168.%d.0/24"}]}}`, i, i%256))
		case 9:
			all = append(all, fmt.Sprintf(`{"source":["aws.codepipeline"],"detail-type":["CodePipeline Pipeline Execution State Change"],`+
				`"detail":{"state":["FAILED"],"pipeline":["pipeline-%d"],"version":[{"exists":false}]}}`, i))
		}
	}
	all[0] = `{"source":["aws.s3"],"detail-type":["Object Created"],"detail":{"bucket":{"name":["amzn-s3-demo-bucket1"]}}}`
	return all[:n]
}

func realisticSet(tb testing.TB, n int) *Set {
	tb.Helper()
	var ps []*Pattern
	for _, text := range realistic(n) {
		p, err := Compile([]byte(text), EventBridge)
		if err != nil {
			tb.Fatalf("Compile(%s): %v", text, err)
		}
		ps = append(ps, p)
	}
	return NewSet(ps...)
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 10000} {
		set := realisticSet(b, n)
		for name, doc := range map[string]string{"s3": objectCreated, "ec2": stateChange} {
			b.Run(fmt.Sprintf("%s/patterns=%d", name, n), func(b *testing.B) {
				doc := []byte(doc)
				dst := make([]int, 0, 100)
				b.SetBytes(int64(len(doc)))
				b.ReportAllocs()
				for b.Loop() {
					dst, _ = set.Match(dst[:0], doc)
				}
				b.ReportMetric(float64(len(dst)), "matches")
			})
		}
	}
}

// BenchmarkRecords is a notification of several records, whose fields must hold in one and the same record.
func BenchmarkRecords(b *testing.B) {
	var patterns []*Pattern
	for i := range 100 {
		p, err := Compile(fmt.Appendf(nil, `{"Records":{"eventName":[{"prefix":"ObjectCreated:"}],`+
			`"s3":{"bucket":{"name":["b"]},"object":{"key":[{"prefix":"in/%d/"}]}}}}`, i), EventBridge)
		if err != nil {
			b.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	set := NewSet(patterns...)
	for _, n := range []int{1, 2, 10, 1000} {
		var doc []byte
		for i := range n {
			doc = fmt.Appendf(doc, `,{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1","eventName":"ObjectCreated:Put",`+
				`"s3":{"s3SchemaVersion":"1.0","bucket":{"name":"b","arn":"arn:aws:s3:::b"},"object":{"key":"in/%d/x","size":1}}}`, i%3)
		}
		doc = append(append([]byte(`{"Records":[`), doc[1:]...), "]}"...)
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			var dst []int
			for b.Loop() {
				dst, _ = set.Match(dst[:0], doc)
			}
			b.ReportMetric(float64(len(dst)), "matches")
		})
	}
}

// BenchmarkSkip is the reading of a document that no pattern asks for anything in.
func BenchmarkSkip(b *testing.B) {
	set := NewSet()
	doc := []byte(objectCreated)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := set.Match(nil, doc); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnmarshal is what reading the document alone costs with encoding/json.
func BenchmarkUnmarshal(b *testing.B) {
	doc := []byte(objectCreated)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		var v map[string]any
		if err := json.Unmarshal(doc, &v); err != nil {
			b.Fatal(err)
		}
	}
}
