package sns

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/clock"
)

// postTime is how long an endpoint may take to answer.
const postTime = 15 * time.Second

// poster posts to HTTP and HTTPS endpoints.
type poster struct {
	clock  clock.Clock
	client *http.Client
}

func newPoster(c clock.Clock) *poster {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // Accept-Encoding is AWS's
	transport.MaxIdleConnsPerHost = perSubscription
	return &poster{clock: c, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// statusError is the status of an answer that does not accept a message.
type statusError int

func (e statusError) Error() string {
	return fmt.Sprintf("the endpoint answers %d %s", int(e), http.StatusText(int(e)))
}

// post posts a parcel once. Any answer with a status of 200 to 299 accepts it.
func (c *poster) post(ctx context.Context, p *parcel, contentType string) error {
	ctx, cancel := clock.WithTimeout(ctx, c.clock, postTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Endpoint, strings.NewReader(p.Body))
	if err != nil {
		return fmt.Errorf("posting a message: %w", err)
	}
	req.Header = http.Header{
		"X-Amz-Sns-Message-Type": {p.Kind},
		"X-Amz-Sns-Message-Id":   {p.MessageID},
		"X-Amz-Sns-Topic-Arn":    {p.Topic},
		"Content-Type":           {contentType},
		"User-Agent":             {"Amazon Simple Notification Service Agent"},
		"Accept-Encoding":        {"gzip,deflate"},
	}
	if p.Kind != typeSubscribe {
		req.Header["X-Amz-Sns-Subscription-Arn"] = []string{p.Subscription}
	}
	if p.Raw {
		req.Header["X-Amz-Sns-Rawdelivery"] = []string{"true"}
	}
	if p.Trace != "" {
		req.Header["X-Amzn-Trace-Id"] = []string{p.Trace}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("posting a message: %w", err)
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) //nolint:errcheck // the status has come
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return statusError(resp.StatusCode)
	}
	return nil
}

// appendLambda appends what a function gets.
func appendLambda(n *event.SNSMessage, subscription string) []byte {
	return event.AppendSNS(make([]byte, 0, 1024+len(n.Message)), n, subscription)
}
