package sqs

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/wire"
)

const benchBody = 100 // bytes of a message

// caller posts JSON requests over one connection for each goroutine.
type caller struct {
	b      *testing.B
	url    string
	client *http.Client
}

func newCaller(b *testing.B, url string) *caller {
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	b.Cleanup(tr.CloseIdleConnections)
	return &caller{b, url, &http.Client{Transport: tr}}
}

func (c *caller) call(operation, body string, into *bytes.Buffer) {
	r, err := http.NewRequestWithContext(c.b.Context(), http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.b.Error(err)
		return
	}
	r.Header["X-Amz-Target"] = []string{"AmazonSQS." + operation}
	r.Header["Content-Type"] = []string{"application/x-amz-json-1.0"}
	resp, err := c.client.Do(r)
	if err != nil {
		c.b.Error(err)
		return
	}
	into.Reset()
	_, err = into.ReadFrom(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		c.b.Errorf("%s: %d %s %v", operation, resp.StatusCode, into, err)
	}
}

func benchQueue(b *testing.B, name string) (*Service, *caller, string) {
	kit := stacktest.New(b)
	s, err := New(kit.Env)
	if err != nil {
		b.Fatal(err)
	}
	url := kit.Serve(s.API()...)
	attributes := map[string]string{}
	if strings.HasSuffix(name, ".fifo") {
		attributes["FifoQueue"] = "true"
	}
	r := &wire.Request{Region: "us-east-1", Account: "000000000000", Endpoint: url}
	out, err := s.createQueue(b.Context(), r, &createQueueInput{QueueName: name, Attributes: attributes})
	if err != nil {
		b.Fatal(err)
	}
	return s, newCaller(b, url), out.QueueURL
}

// clients runs f in 8 goroutines on however many processors there are.
func clients(b *testing.B, f func(pb *testing.PB)) {
	b.ReportAllocs()
	b.SetParallelism(4) // of 2 processors
	b.RunParallel(f)
}

func BenchmarkEcho(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.Error(err)
		}
		w.Write(body)
	}))
	b.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	c := newCaller(b, s.URL)
	body := sendBody(s.URL+"/000000000000/q", 0, false)
	clients(b, func(pb *testing.PB) {
		var into bytes.Buffer
		for pb.Next() {
			c.call("Echo", body, &into)
		}
	})
}

func sendBody(url string, i int, fifo bool) string {
	group := ""
	if fifo {
		group = fmt.Sprintf(`,"MessageGroupId":"g%d","MessageDeduplicationId":"d%d"`, i%1000, i)
	}
	return `{"QueueUrl":"` + url + `","MessageBody":"` + strings.Repeat("x", benchBody) + `"` + group + `}`
}

func BenchmarkSend(b *testing.B) {
	for _, name := range []string{"q", "q.fifo"} {
		b.Run(name, func(b *testing.B) {
			_, c, q := benchQueue(b, name)
			var n atomic.Int64
			clients(b, func(pb *testing.PB) {
				var into bytes.Buffer
				for pb.Next() {
					c.call("SendMessage", sendBody(q, int(n.Add(1)), name == "q.fifo"), &into)
				}
			})
		})
	}
}

func batchBody(url string, n *atomic.Int64, fifo bool) string {
	var list []string
	for i := range 10 {
		group, k := "", n.Add(1)
		if fifo {
			group = fmt.Sprintf(`,"MessageGroupId":"g%d","MessageDeduplicationId":"d%d"`, k%1000, k)
		}
		list = append(list, fmt.Sprintf(`{"Id":"%d","MessageBody":"%s"%s}`, i, strings.Repeat("x", benchBody), group))
	}
	return `{"QueueUrl":"` + url + `","Entries":[` + strings.Join(list, ",") + `]}`
}

func BenchmarkSendBatch(b *testing.B) {
	for _, name := range []string{"q", "q.fifo"} {
		b.Run(name, func(b *testing.B) {
			_, c, q := benchQueue(b, name)
			var n atomic.Int64
			clients(b, func(pb *testing.PB) {
				var into bytes.Buffer
				for pb.Next() {
					c.call("SendMessageBatch", batchBody(q, &n, name == "q.fifo"), &into)
				}
			})
			b.ReportMetric(10*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// fill puts messages into a queue without HTTP.
func fill(b *testing.B, s *Service, url string, n int, fifo bool) {
	r := &wire.Request{Region: "us-east-1", Account: "000000000000"}
	body := strings.Repeat("x", benchBody)
	for i := range n {
		in := &sendMessageInput{QueueURL: url, Body: body}
		if fifo {
			group, id := fmt.Sprintf("g%d", i%1000), fmt.Sprintf("d%d", i)
			in.GroupID, in.DeduplicationID = &group, &id
		}
		if _, err := s.sendMessage(b.Context(), r, in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReceiveDelete receives one message and deletes it.
func BenchmarkReceiveDelete(b *testing.B) {
	for _, name := range []string{"q", "q.fifo"} {
		b.Run(name, func(b *testing.B) {
			s, c, q := benchQueue(b, name)
			fill(b, s, q, b.N+1000, name == "q.fifo")
			b.ResetTimer()
			clients(b, func(pb *testing.PB) {
				var into bytes.Buffer
				var out receiveOutput
				for pb.Next() {
					c.call("ReceiveMessage", `{"QueueUrl":"`+q+`"}`, &into)
					if err := json.Unmarshal(into.Bytes(), &out); err != nil || len(out.Messages) != 1 {
						b.Errorf("%s %v", &into, err)
						return
					}
					c.call("DeleteMessage", `{"QueueUrl":"`+q+`","ReceiptHandle":"`+out.Messages[0].ReceiptHandle+`"}`, &into)
				}
			})
		})
	}
}

// BenchmarkReceiveDeleteBatch receives up to ten messages and deletes them.
func BenchmarkReceiveDeleteBatch(b *testing.B) {
	for _, name := range []string{"q", "q.fifo"} {
		b.Run(name, func(b *testing.B) {
			s, c, q := benchQueue(b, name)
			fill(b, s, q, 10*b.N+1000, name == "q.fifo")
			b.ResetTimer()
			var got atomic.Int64
			clients(b, func(pb *testing.PB) {
				var into bytes.Buffer
				var out receiveOutput
				for pb.Next() {
					c.call("ReceiveMessage", `{"QueueUrl":"`+q+`","MaxNumberOfMessages":10}`, &into)
					if err := json.Unmarshal(into.Bytes(), &out); err != nil || len(out.Messages) == 0 {
						b.Errorf("%s %v", &into, err)
						return
					}
					got.Add(int64(len(out.Messages)))
					var list []string
					for i, m := range out.Messages {
						list = append(list, fmt.Sprintf(`{"Id":"%d","ReceiptHandle":"%s"}`, i, m.ReceiptHandle))
					}
					c.call("DeleteMessageBatch", `{"QueueUrl":"`+q+`","Entries":[`+strings.Join(list, ",")+`]}`, &into)
				}
			})
			b.ReportMetric(float64(got.Load())/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkEngine is the queue without the protocol.
func BenchmarkEngine(b *testing.B) {
	for _, name := range []string{"q", "q.fifo"} {
		b.Run(name, func(b *testing.B) {
			kit := stacktest.New(b)
			s, err := New(kit.Env)
			if err != nil {
				b.Fatal(err)
			}
			r := &wire.Request{Region: "us-east-1", Account: "000000000000"}
			attributes := map[string]string{}
			if name == "q.fifo" {
				attributes["FifoQueue"] = "true"
			}
			if _, err := s.createQueue(b.Context(), r, &createQueueInput{QueueName: name, Attributes: attributes}); err != nil {
				b.Fatal(err)
			}
			fill(b, s, name, 100_000, name == "q.fifo") // a backlog
			q := s.byName(r.ARN("sqs", name))
			b.ReportAllocs()
			b.ResetTimer()
			i := 100_000
			for b.Loop() {
				i++
				in := &sendMessageInput{QueueURL: name, Body: "x"}
				if q.fifo {
					group, id := fmt.Sprintf("g%d", i%1000), fmt.Sprintf("d%d", i)
					in.GroupID, in.DeduplicationID = &group, &id
				}
				if _, err := s.sendMessage(b.Context(), r, in); err != nil {
					b.Fatal(err)
				}
				got, err := q.receive(b.Context(), request{n: 1, timeout: 30e9})
				if err != nil || len(got) != 1 {
					b.Fatal(got, err)
				}
				if err := each(q, 1, func(int, int64) { err = q.delete("", got[0].receipt) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
