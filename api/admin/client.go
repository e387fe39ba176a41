package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/millrace/millrace/async"
	"github.com/millrace/millrace/internal/plugin"
)

// Client asks a running hub. Its methods may be called concurrently. An error of the hub is an *Error; the
// others say what is wrong with the way to it.
type Client struct {
	base  string
	token plugin.Secret
	http  http.Client
}

// NewClient makes a client of the hub whose admin address is hub: a URL, or only host and port. token may be
// empty. It does not connect.
func NewClient(hub string, token plugin.Secret) (*Client, error) {
	base := hub
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a hub; write one such as http://127.0.0.1:9000", hub)
	}
	return &Client{
		base: strings.TrimSuffix(base, "/"), token: token,
		http: http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
	}, nil
}

// Queue counts the events of each function.
func (c *Client) Queue(ctx context.Context) ([]async.Stat, error) {
	var a queueAnswer
	err := c.do(ctx, http.MethodGet, "/v1/queue", nil, &a)
	return a.Functions, err
}

// Events lists entries without their documents, newest first, and the cursor of the next page, or "". Limit is
// at most 1000.
func (c *Client) Events(ctx context.Context, q async.Query) (entries []async.Entry, next string, err error) {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Add(name, value)
		}
	}
	for _, s := range q.States {
		set("state", string(s))
	}
	set("function", q.Function)
	set("id", q.ID)
	set("after", q.After)
	if !q.Since.IsZero() {
		set("since", q.Since.Format(time.RFC3339Nano))
	}
	if !q.Until.IsZero() {
		set("until", q.Until.Format(time.RFC3339Nano))
	}
	if q.Limit != 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	var a eventsAnswer
	err = c.do(ctx, http.MethodGet, "/v1/events?"+v.Encode(), nil, &a)
	return a.Events, a.Next, err
}

// Event reads one entry with its documents.
func (c *Client) Event(ctx context.Context, id string) (Event, error) {
	var e Event
	err := c.do(ctx, http.MethodGet, "/v1/events/"+url.PathEscape(id), nil, &e)
	return e, err
}

// Why tells the story of one event.
func (c *Client) Why(ctx context.Context, id string) (Story, error) {
	var s Story
	err := c.do(ctx, http.MethodGet, "/v1/why/"+url.PathEscape(id), nil, &s)
	return s, err
}

// Redrive queues the dead letters that q selects again, and returns how many. A q that selects nothing means
// all of them.
func (c *Client) Redrive(ctx context.Context, q async.Query) (int, error) {
	return c.bulk(ctx, "/v1/dlq/redrive", q)
}

// Purge discards the dead letters that q selects for good, and returns how many. A q that selects nothing
// means all of them.
func (c *Client) Purge(ctx context.Context, q async.Query) (int, error) {
	return c.bulk(ctx, "/v1/dlq/purge", q)
}

func (c *Client) bulk(ctx context.Context, path string, q async.Query) (int, error) {
	body := selection{ID: q.ID, Function: q.Function, Since: q.Since, Until: q.Until, Limit: q.Limit}
	body.All = q.ID == "" && q.Function == "" && q.Since.IsZero() && q.Until.IsZero()
	var a countAnswer
	err := c.do(ctx, http.MethodPost, path, body, &a)
	return a.Events, err
}

// Status tells what runs.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// Ready tells the state of each part, and whether all are ready.
func (c *Client) Ready(ctx context.Context) (bool, []Part, error) {
	var a healthAnswer
	err := c.do(ctx, http.MethodGet, "/readyz", nil, &a)
	return a.Ready, a.Parts, err
}

// Reload makes the hub read its file again, and returns once the difference is applied.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/reload", struct{}{}, &struct{}{})
}

// do makes one request and decodes its answer into out.
func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	var send io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		send = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, send)
	if err != nil {
		return fmt.Errorf("asking the hub at %s: %w", c.base, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	resp, err := c.http.Do(r)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no hub answers at %s: is `millrace serve` running?", c.base)
	case err != nil:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // what it adds is said here already
		}
		return fmt.Errorf("asking the hub at %s: %w", c.base, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer of the hub at %s: %w", c.base, err)
	}
	var health healthAnswer
	refusal := &Error{Status: resp.StatusCode}
	switch ok := resp.StatusCode == http.StatusOK; {
	case ok && json.Unmarshal(data, out) == nil:
		return nil
	case resp.StatusCode == http.StatusServiceUnavailable && path == "/readyz" && json.Unmarshal(data, &health) == nil && health.Parts != nil:
		return json.Unmarshal(data, out)
	case !ok && json.Unmarshal(data, refusal) == nil && refusal.Message != "":
		return refusal
	}
	return fmt.Errorf("what answers at %s is not the admin address of a hub (%s, %s)", c.base, resp.Status, resp.Header.Get("Content-Type"))
}
