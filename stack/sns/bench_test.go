package sns

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// post sends a form as fast as it can, from eight clients.
func benchmarkPosts(b *testing.B, url, form string) {
	b.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	b.SetParallelism(4) // of two processors
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := client.Post(url, "application/x-www-form-urlencoded", strings.NewReader(form))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != http.StatusOK {
				b.Errorf("%s", r.Status)
				return
			}
		}
	})
}

const benchmarkMessage = "Action=Publish&Version=2010-03-31&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A000000000000%3Atopic&Message=%7B%22order%22%3A5%7D" +
	"&MessageAttributes.entry.1.Name=kind&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=new"

// BenchmarkEcho is what net/http alone does with the same request.
func BenchmarkEcho(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	defer s.Close()
	benchmarkPosts(b, s.URL, benchmarkMessage)
}

func BenchmarkPublish(b *testing.B) {
	for _, raw := range []bool{true, false} {
		for _, filters := range []int{0, 100} {
			b.Run(fmt.Sprintf("raw=%t/filters=%d", raw, filters), func(b *testing.B) {
				w := newWorld(b)
				topic := w.topic("topic")
				w.subscribe(topic, "sqs", queue("q"), "RawMessageDelivery", fmt.Sprint(raw))
				for i := range filters {
					w.subscribe(topic, "sqs", queue(fmt.Sprint("q", i)), "FilterPolicy", fmt.Sprintf(`{"kind":["kind-%d",{"prefix":"x-"}]}`, i))
				}
				w.discard()
				benchmarkPosts(b, w.url, benchmarkMessage)
			})
		}
	}
}

func BenchmarkFifo(b *testing.B) {
	w := newWorld(b)
	topic := w.topic("topic.fifo")
	w.subscribe(topic, "sqs", queue("q.fifo"))
	w.discard()
	ids := make(chan string, 1024)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for i := 0; ; i++ {
			select {
			case ids <- fmt.Sprintf("&MessageGroupId=g%d&MessageDeduplicationId=%d", i%100, i):
			case <-stop:
				return
			}
		}
	}()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := client.Post(w.url, "application/x-www-form-urlencoded", strings.NewReader(strings.Replace(benchmarkMessage, "topic", "topic.fifo", 1)+<-ids))
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != http.StatusOK {
				b.Errorf("%s", r.Status)
				return
			}
		}
	})
}
