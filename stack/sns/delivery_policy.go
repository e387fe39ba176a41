package sns

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Limits of delivery policies
// (https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html#creating-delivery-policy).
const (
	maxDelay   = 3600 // seconds
	maxRetries = 100
)

const defaultContentType = "text/plain; charset=UTF-8"

// retryPolicy says when a delivery that has failed is tried again: at once, then after the least delay, then after
// delays that grow from the least to the greatest, then after the greatest. Nil members are defaults.
type retryPolicy struct {
	MinDelayTarget     *int    `json:"minDelayTarget,omitzero"` // seconds
	MaxDelayTarget     *int    `json:"maxDelayTarget,omitzero"` // seconds
	NumRetries         *int    `json:"numRetries,omitzero"`     // in all
	NumMaxDelayRetries *int    `json:"numMaxDelayRetries,omitzero"`
	NumNoDelayRetries  *int    `json:"numNoDelayRetries,omitzero"`
	NumMinDelayRetries *int    `json:"numMinDelayRetries,omitzero"`
	BackoffFunction    *string `json:"backoffFunction,omitzero"`
}

func pointer[T any](v T) *T { return &v }

// full fills the defaults in.
func (p *retryPolicy) full() *retryPolicy {
	f := retryPolicy{}
	if p != nil {
		f = *p
	}
	for _, m := range []struct {
		v         **int
		otherwise int
	}{{&f.MinDelayTarget, 20}, {&f.MaxDelayTarget, 20}, {&f.NumRetries, 3}, {&f.NumMaxDelayRetries, 0}, {&f.NumNoDelayRetries, 0}, {&f.NumMinDelayRetries, 0}} {
		if *m.v == nil {
			*m.v = pointer(m.otherwise)
		}
	}
	if f.BackoffFunction == nil {
		f.BackoffFunction = pointer("linear")
	}
	return &f
}

var backoffs = []string{"arithmetic", "exponential", "geometric", "linear"}

func (p *retryPolicy) check(name string) error {
	if p == nil {
		return nil
	}
	f := p.full()
	switch {
	case *f.MinDelayTarget < 1 || *f.MinDelayTarget > *f.MaxDelayTarget && p.MaxDelayTarget != nil:
		return fmt.Errorf("DeliveryPolicy: %s.minDelayTarget must be from 1 to maxDelayTarget", name)
	case *f.MaxDelayTarget < *f.MinDelayTarget || *f.MaxDelayTarget > maxDelay:
		return fmt.Errorf("DeliveryPolicy: %s.maxDelayTarget must be from minDelayTarget to %d", name, maxDelay)
	case *f.NumRetries < 0 || *f.NumRetries > maxRetries:
		return fmt.Errorf("DeliveryPolicy: %s.numRetries must be from 0 to %d", name, maxRetries)
	case *f.NumNoDelayRetries < 0 || *f.NumMinDelayRetries < 0 || *f.NumMaxDelayRetries < 0 ||
		*f.NumNoDelayRetries+*f.NumMinDelayRetries+*f.NumMaxDelayRetries > *f.NumRetries:
		return fmt.Errorf("DeliveryPolicy: %s.numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries must be 0 or more, and together at most numRetries", name)
	case !slices.Contains(backoffs, *f.BackoffFunction):
		return fmt.Errorf("DeliveryPolicy: %s.backoffFunction must be one of %s", name, strings.Join(backoffs, ", "))
	}
	return nil
}

// delay is the wait before the n-th retry, counted from 1, of a full policy. There is none beyond NumRetries.
func (p *retryPolicy) delay(n int) (time.Duration, bool) {
	if n > *p.NumRetries {
		return 0, false
	}
	low, high := float64(*p.MinDelayTarget), float64(*p.MaxDelayTarget)
	seconds := low
	growing := *p.NumRetries - *p.NumNoDelayRetries - *p.NumMinDelayRetries - *p.NumMaxDelayRetries
	switch i := n - *p.NumNoDelayRetries - *p.NumMinDelayRetries; {
	case n <= *p.NumNoDelayRetries:
		return 0, true
	case i <= 0:
	case i > growing:
		seconds = high
	case growing > 1:
		seconds = grow(*p.BackoffFunction, low, high, i-1, growing-1)
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// grow is the i-th of the values from low (0) to high (n). AWS shows the curves, and does not say their formulas.
func grow(function string, low, high float64, i, n int) float64 {
	x := float64(i) / float64(n)
	switch function {
	case "arithmetic": // the steps grow by the same amount
		x = float64(i*(i+1)) / float64(n*(n+1))
	case "geometric": // the values grow by the same factor
		return low * math.Pow(high/low, x)
	case "exponential": // the steps double
		x = (math.Pow(2, float64(i)) - 1) / (math.Pow(2, float64(n)) - 1)
	}
	return low + (high-low)*x
}

type throttlePolicy struct {
	MaxReceivesPerSecond *int `json:"maxReceivesPerSecond,omitzero"`
}

func (p *throttlePolicy) check(name string) error {
	if p != nil && p.MaxReceivesPerSecond != nil && *p.MaxReceivesPerSecond < 1 {
		return fmt.Errorf("DeliveryPolicy: %s.maxReceivesPerSecond must be 1 or more", name)
	}
	return nil
}

// rate is the most deliveries in a second; 0 is no limit.
func (p *throttlePolicy) rate() int {
	if p == nil || p.MaxReceivesPerSecond == nil {
		return 0
	}
	return *p.MaxReceivesPerSecond
}

type requestPolicy struct {
	HeaderContentType *string `json:"headerContentType,omitzero"`
}

var contentTypes = []string{
	"application/atom+xml", "application/json", "application/octet-stream", "application/soap+xml", "application/x-www-form-urlencoded",
	"application/xhtml+xml", "application/xml", "text/css", "text/csv", "text/html", "text/plain", "text/xml",
}

func (p *requestPolicy) check(name string) error {
	if p == nil || p.HeaderContentType == nil {
		return nil
	}
	kind, _, _ := strings.Cut(*p.HeaderContentType, ";")
	if !slices.Contains(contentTypes, strings.ToLower(strings.TrimSpace(kind))) || strings.ContainsAny(*p.HeaderContentType, "\r\n") {
		return fmt.Errorf("DeliveryPolicy: %s.headerContentType must be one of %s", name, strings.Join(contentTypes, ", "))
	}
	return nil
}

// topicPolicy is the DeliveryPolicy of a topic. A nil one has the defaults.
type topicPolicy struct {
	HTTP topicHTTPPolicy `json:"http"`
}

type topicHTTPPolicy struct {
	HealthyRetry     *retryPolicy    `json:"defaultHealthyRetryPolicy,omitzero"`
	SicklyRetry      *retryPolicy    `json:"defaultSicklyRetryPolicy,omitzero"`
	DisableOverrides bool            `json:"disableSubscriptionOverrides"`
	Throttle         *throttlePolicy `json:"defaultThrottlePolicy,omitzero"`
	Request          *requestPolicy  `json:"defaultRequestPolicy,omitzero"`
}

// parseTopicPolicy reads a DeliveryPolicy; the empty text is nil. An error begins with the attribute's name.
func parseTopicPolicy(text string) (*topicPolicy, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no policy is no error
	}
	p := new(topicPolicy)
	if err := parsePolicy(text, p); err != nil {
		return nil, err
	}
	return p, errors.Join(noSickly("http.defaultSicklyRetryPolicy", p.HTTP.SicklyRetry), p.HTTP.HealthyRetry.check("http.defaultHealthyRetryPolicy"),
		p.HTTP.Throttle.check("http.defaultThrottlePolicy"), p.HTTP.Request.check("http.defaultRequestPolicy"))
}

func parsePolicy(text string, p any) error {
	err := json.Unmarshal([]byte(text), p, json.RejectUnknownMembers(true))
	var e *json.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e) && errors.Is(e.Err, json.ErrUnknownName):
		return errors.New("DeliveryPolicy: Unexpected JSON member: " + e.JSONPointer.LastToken())
	case errors.As(err, &e):
		return fmt.Errorf("DeliveryPolicy: %s cannot be %s", strings.ReplaceAll(strings.TrimPrefix(string(e.JSONPointer), "/"), "/", "."), e.JSONValue)
	}
	return fmt.Errorf("DeliveryPolicy: failed to parse JSON. %w", err)
}

func noSickly(name string, p *retryPolicy) error {
	if p == nil {
		return nil
	}
	return errors.New("DeliveryPolicy: " + name + ": millrace's local stack does not tell sickly endpoints from healthy ones")
}

func (p *topicPolicy) String() string { return text(p) }

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs can be written
	}
	return string(b)
}

// effective is the policy with the defaults filled in.
func (p *topicPolicy) effective() string {
	f := topicPolicy{}
	if p != nil {
		f = *p
	}
	f.HTTP.HealthyRetry = f.HTTP.HealthyRetry.full()
	if f.HTTP.Request == nil || f.HTTP.Request.HeaderContentType == nil {
		f.HTTP.Request = &requestPolicy{pointer(defaultContentType)}
	}
	return f.String()
}

// subscriberPolicy is the DeliveryPolicy of a subscription. A nil one has the topic's.
type subscriberPolicy struct {
	HealthyRetry *retryPolicy    `json:"healthyRetryPolicy"`
	SicklyRetry  *retryPolicy    `json:"sicklyRetryPolicy"`
	Throttle     *throttlePolicy `json:"throttlePolicy"`
	Request      *requestPolicy  `json:"requestPolicy"`
	Guaranteed   bool            `json:"guaranteed"`
}

// parseSubscriberPolicy reads a DeliveryPolicy; the empty text is nil. An error begins with the attribute's name.
func parseSubscriberPolicy(text string) (*subscriberPolicy, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no policy is no error
	}
	p := new(subscriberPolicy)
	if err := parsePolicy(text, p); err != nil {
		return nil, err
	}
	var guaranteed error
	if p.Guaranteed {
		guaranteed = errors.New("DeliveryPolicy: guaranteed: millrace's local stack does not deliver for ever")
	}
	return p, errors.Join(noSickly("sicklyRetryPolicy", p.SicklyRetry), p.HealthyRetry.check("healthyRetryPolicy"),
		p.Throttle.check("throttlePolicy"), p.Request.check("requestPolicy"), guaranteed)
}

func (p *subscriberPolicy) String() string { return text(p) }

// of is the policy of a subscription of the topic: its own, completed by the topic's and by the defaults.
func (p *topicPolicy) of(sub *subscriberPolicy) *subscriberPolicy {
	var t topicHTTPPolicy
	if p != nil {
		t = p.HTTP
	}
	var f subscriberPolicy
	if sub != nil && !t.DisableOverrides {
		f = *sub
	}
	if f.HealthyRetry == nil {
		f.HealthyRetry = t.HealthyRetry
	}
	f.HealthyRetry = f.HealthyRetry.full()
	if f.Throttle == nil {
		f.Throttle = t.Throttle
	}
	if f.Request == nil || f.Request.HeaderContentType == nil {
		f.Request = t.Request
	}
	if f.Request == nil || f.Request.HeaderContentType == nil {
		f.Request = &requestPolicy{pointer(defaultContentType)}
	}
	return &f
}

// ownRetries is how deliveries to queues and functions are tried again, which no policy changes: three times at once,
// twice after a second, ten times after 1 to 20 seconds, and 100,000 times after 20 seconds.
func ownRetries() *retryPolicy {
	return &retryPolicy{
		MinDelayTarget: pointer(1), MaxDelayTarget: pointer(20), NumNoDelayRetries: pointer(3), NumMinDelayRetries: pointer(2),
		NumMaxDelayRetries: pointer(100_000), NumRetries: pointer(100_015), BackoffFunction: pointer("exponential"),
	}
}
