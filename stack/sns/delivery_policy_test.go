package sns

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDelays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy string
		want   []float64 // seconds
	}{
		{`{}`, []float64{20, 20, 20}},
		{`{"numRetries":0}`, nil},
		{`{"numRetries":4,"minDelayTarget":1,"maxDelayTarget":4}`, []float64{1, 2, 3, 4}},
		{`{"numRetries":4,"minDelayTarget":1,"maxDelayTarget":13,"backoffFunction":"arithmetic"}`, []float64{1, 3, 7, 13}},
		{`{"numRetries":4,"minDelayTarget":1,"maxDelayTarget":8,"backoffFunction":"geometric"}`, []float64{1, 2, 4, 8}},
		{`{"numRetries":4,"minDelayTarget":1,"maxDelayTarget":15,"backoffFunction":"exponential"}`, []float64{1, 3, 7, 15}},
		{`{"numRetries":7,"numNoDelayRetries":1,"numMinDelayRetries":2,"numMaxDelayRetries":2,"minDelayTarget":5,"maxDelayTarget":10}`, []float64{0, 5, 5, 5, 10, 10, 10}},
		{`{"numRetries":3,"numNoDelayRetries":1,"numMaxDelayRetries":1,"minDelayTarget":5,"maxDelayTarget":10}`, []float64{0, 5, 10}},
	} {
		p, err := parseSubscriberPolicy(`{"healthyRetryPolicy":` + c.policy + `}`)
		if err != nil {
			t.Errorf("%s: %v", c.policy, err)
			continue
		}
		var got []float64
		full := p.HealthyRetry.full()
		for n := 1; ; n++ {
			d, ok := full.delay(n)
			if !ok {
				break
			}
			got = append(got, math.Round(d.Seconds()*1000)/1000)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.policy, got, c.want)
		}
	}
	p := ownRetries()
	if err := p.check("own"); err == nil {
		t.Error("a subscription could ask for as many retries as queues get")
	}
	total := time.Duration(0)
	for n := 1; ; n++ {
		d, ok := p.delay(n)
		if !ok {
			break
		}
		total += d
	}
	if days := total.Hours() / 24; days < 23 || days > 24 {
		t.Errorf("queues are tried for %.1f days; AWS says 23", days)
	}
}

func TestDeliveryPolicyRefusals(t *testing.T) {
	t.Parallel()
	for policy, says := range map[string]string{
		`{"healthyRetryPolicy":{"minDelayTarget":0}}`:                    "healthyRetryPolicy.minDelayTarget must be from 1 to maxDelayTarget",
		`{"healthyRetryPolicy":{"minDelayTarget":9,"maxDelayTarget":8}}`: "healthyRetryPolicy.minDelayTarget must be from 1 to maxDelayTarget",
		`{"healthyRetryPolicy":{"maxDelayTarget":3601}}`:                 "healthyRetryPolicy.maxDelayTarget must be from minDelayTarget to 3600",
		`{"healthyRetryPolicy":{"minDelayTarget":30}}`:                   "healthyRetryPolicy.maxDelayTarget must be from minDelayTarget to 3600",
		`{"healthyRetryPolicy":{"numRetries":101}}`:                      "healthyRetryPolicy.numRetries must be from 0 to 100",
		`{"healthyRetryPolicy":{"numRetries":2,"numNoDelayRetries":3}}`:  "together at most numRetries",
		`{"healthyRetryPolicy":{"numMinDelayRetries":-1}}`:               "must be 0 or more",
		`{"healthyRetryPolicy":{"backoffFunction":"quadratic"}}`:         "healthyRetryPolicy.backoffFunction must be one of arithmetic, exponential, geometric, linear",
		`{"healthyRetryPolicy":{"numRetries":"3"}}`:                      "healthyRetryPolicy.numRetries cannot be",
		`{"sicklyRetryPolicy":{}}`:                                       "millrace's local stack does not tell sickly endpoints",
		`{"guaranteed":true}`:                                            "millrace's local stack does not deliver for ever",
		`{"throttlePolicy":{"maxReceivesPerSecond":0}}`:                  "throttlePolicy.maxReceivesPerSecond must be 1 or more",
		`{"requestPolicy":{"headerContentType":"image/png"}}`:            "requestPolicy.headerContentType must be one of",
		`{"requestPolicy":{"headerContentType":"text/plain;\r\nX: y"}}`:  "requestPolicy.headerContentType must be one of",
		`{"http":{}}`: "Unexpected JSON member: http",
		`{`:           "failed to parse JSON",
		`[]`:          "cannot be",
	} {
		if _, err := parseSubscriberPolicy(policy); err == nil || !strings.HasPrefix(err.Error(), "DeliveryPolicy: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", policy, err, says)
		}
	}
}

// FuzzDeliveryPolicy reads anything; what it takes is kept in a form that it takes again, and ends.
func FuzzDeliveryPolicy(f *testing.F) {
	f.Add(`{"healthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":3600,"numRetries":100,"backoffFunction":"geometric"},"throttlePolicy":null}`)
	f.Add(`{"http":{"defaultHealthyRetryPolicy":{"numRetries":3},"disableSubscriptionOverrides":true}}`)
	f.Add(`{"requestPolicy":{"headerContentType":"text/csv; charset=utf-8"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var own *subscriberPolicy
		if p, err := parseSubscriberPolicy(text); err == nil && p != nil {
			if _, err := parseSubscriberPolicy(p.String()); err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			own = p
		}
		topic, err := parseTopicPolicy(text)
		if err != nil {
			topic = nil
		} else if topic != nil {
			if _, err := parseTopicPolicy(topic.String()); err != nil {
				t.Fatalf("%s: %v", topic, err)
			}
		}
		p := topic.of(own).HealthyRetry
		for n := 1; n <= *p.NumRetries; n++ {
			if d, ok := p.delay(n); !ok || d < 0 || d > maxDelay*time.Second {
				t.Fatalf("retry %d after %v, %t", n, d, ok)
			}
		}
	})
}

// FuzzStructure reads any message of which each protocol has a version of its own.
func FuzzStructure(f *testing.F) {
	f.Add(`{"default":"x","sqs":"{\"a\":1}","http":null}`)
	f.Add(`{"default":"\ud800","default":"y"}`)
	f.Fuzz(func(t *testing.T, text string) {
		texts, err := structure(text)
		if _, ok := texts["default"]; err == nil && !ok {
			t.Fatal("there is no default")
		}
	})
}

// FuzzAttribute checks any attribute; one that is taken has a value of the kind that its type says.
func FuzzAttribute(f *testing.F) {
	f.Add("attr1", "String", "x", []byte(nil))
	f.Add("a.b-c_9", "Number.int", "1e5", []byte(nil))
	f.Add(".", "Binary", "", []byte{1})
	f.Add("list", "String.Array", `["a"]`, []byte(nil))
	f.Fuzz(func(t *testing.T, name, dataType, text string, b []byte) {
		v := attributeValue{DataType: &dataType, BinaryValue: b}
		if text != "" {
			v.StringValue = &text
		}
		if checkAttribute(name, v) == nil && strings.HasPrefix(dataType, "Binary") != (v.StringValue == nil) {
			t.Fatalf("%q of type %q is taken with %q and %q", name, dataType, text, b)
		}
	})
}
