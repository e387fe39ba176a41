// Package sqs is SQS of the local stack: standard and FIFO queues with the rules that AWS documents, and where its
// documentation is silent those that recordings of AWS show. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/welcome.html.
//
// Queues are exact where AWS's are approximate: a receive finds every message that can be received, attributes take
// effect at once, and the depth figures are right. A standard queue delivers more than once only if fault injection
// asks for it.
package sqs

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Service is SQS for all accounts and regions. Its methods may be called concurrently.
type Service struct {
	env env.Env

	mu      sync.RWMutex // not to be held when a queue's lock is taken
	queues  map[place]*queue
	deleted map[place]int64 // when a queue of that name was deleted, for a minute
}

// New makes the service, with what the store has of it.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e, queues: map[place]*queue{}, deleted: map[place]int64{}}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reset deletes all queues, and forgets that there were any.
func (s *Service) Reset() {
	s.mu.Lock()
	queues := s.queues
	s.queues, s.deleted = map[place]*queue{}, map[place]int64{}
	var b store.Batch
	b.DeletePrefix(keyDeleted)
	c := s.env.Store.Commit(&b)
	s.mu.Unlock()
	for _, q := range queues { // each by itself, and not queues that are created in the meantime
		q.mu.Lock()
		q.close()
		q.eraseQueue()
		c = q.commit()
		q.mu.Unlock()
	}
	if err := c.Wait(); err != nil {
		s.env.Log.Error("forgetting the queues", "error", err)
	}
}

// API describes the service to the dispatcher.
func (s *Service) API() []wire.Service {
	return []wire.Service{{
		Name: "sqs", Target: "AmazonSQS", JSONVersion: "1.0", ErrorSpace: "com.amazonaws.sqs#",
		QueryVersion: "2012-11-05", QueryNamespace: "http://queue.amazonaws.com/doc/2012-11-05/", QueryDetail: true,
		Throttled: wire.Error{Code: "RequestThrottled", QueryCode: "RequestThrottled", Status: http.StatusForbidden,
			Message: "The request was denied due to request throttling."},
		Operations: []wire.Operation{
			operation("CreateQueue", s.createQueue),
			operation("DeleteQueue", s.deleteQueue),
			operation("GetQueueUrl", s.getQueueURL),
			operation("ListQueues", s.listQueues),
			operation("ListDeadLetterSourceQueues", s.listSources),
			operation("GetQueueAttributes", s.getAttributes),
			operation("SetQueueAttributes", s.setAttributes),
			operation("AddPermission", s.addPermission),
			operation("RemovePermission", s.removePermission),
			operation("TagQueue", s.tagQueue),
			operation("UntagQueue", s.untagQueue),
			operation("ListQueueTags", s.listTags),
			operation("PurgeQueue", s.purgeQueue),
			operation("SendMessage", s.sendMessage),
			operation("SendMessageBatch", s.sendBatch),
			operation("ReceiveMessage", s.receiveMessage).Twice(),
			operation("DeleteMessage", s.deleteMessage),
			operation("DeleteMessageBatch", s.deleteBatch),
			operation("ChangeMessageVisibility", s.changeVisibility),
			operation("ChangeMessageVisibilityBatch", s.changeBatch),
			operation("StartMessageMoveTask", s.startMove),
			operation("ListMessageMoveTasks", s.listMoves),
			operation("CancelMessageMoveTask", s.cancelMove),
		},
	}}
}

// operation is wire.Op for handlers that may find their queue deleted under their hands.
func operation[In, Out any](name string, handle func(context.Context, *wire.Request, *In) (*Out, error)) wire.Operation {
	return wire.Op(name, func(ctx context.Context, r *wire.Request, in *In) (*Out, error) {
		out, err := handle(ctx, r, in)
		if errors.Is(err, errDeleted) {
			return nil, queueDoesNotExist(r.Query)
		}
		return out, err
	})
}

func (s *Service) newQueue(p place, id queueID, now int64) *queue {
	q := newQueue(p, id, now)
	q.clock, q.store = s.env.Clock, s.env.Store
	q.find = func(arn string) *queue {
		p, ok := parseARN(arn)
		if !ok {
			return nil
		}
		return s.at(p)
	}
	return q
}

func newQueueID() (id queueID) {
	binary.BigEndian.PutUint64(id[:], rand.Uint64())
	return id
}

// at returns the queue at a place, nil if there is none.
func (s *Service) at(p place) *queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.queues[p]
}

// queue returns the queue that a request names by its URL.
func (s *Service) queue(r *wire.Request, queueURL string) (*queue, error) {
	p, err := placeOf(r, queueURL)
	if err != nil {
		return nil, err
	}
	if q := s.at(p); q != nil {
		return q, nil
	}
	return nil, queueDoesNotExist(r.Query)
}

// placeOf reads a queue's URL, which a Query may also be sent to instead of naming it. Whatever host it names, its path ends in the account and the name; AWS's older
// endpoints and other emulators put more in front. A name alone is a queue of the caller's, as on AWS.
func placeOf(r *wire.Request, queueURL string) (place, error) {
	if queueURL == "" && r.Query && len(r.Path) > 1 {
		queueURL = r.Path
	}
	if queueURL == "" {
		return place{}, missingParameter("QueueUrl")
	}
	p := place{account: r.Account, region: r.Region, name: queueURL}
	slash := strings.LastIndexByte(queueURL, '/')
	if slash < 0 {
		return p, nil
	}
	path := queueURL
	if before := strings.LastIndexByte(path[:slash], '/'); before >= 0 && isAccount(path[before+1:slash]) && // as nearly always
		slash+1 < len(path) && strings.LastIndexByte(strings.TrimPrefix(path[:before], "http://"), '/') < 0 && !strings.ContainsAny(path[slash:], "%?#") {
		p.account, p.name = path[before+1:slash], path[slash+1:]
		return p, nil
	}
	if i := strings.Index(path, "://"); i >= 0 {
		path = path[i+3:]
		host := strings.IndexByte(path, '/')
		if host < 0 {
			return p, invalidAddress(queueURL)
		}
		path = path[host:]
	}
	if u, err := url.Parse(path); err == nil && strings.ContainsAny(path, "%?#") {
		path = u.Path
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	n := len(parts)
	p.name = parts[n-1]
	if p.name == "" {
		return p, invalidAddress(queueURL)
	}
	if n >= 2 {
		if !isAccount(parts[n-2]) && parts[n-2] != "queue" {
			return p, invalidAddress(queueURL)
		}
		if parts[n-2] != "queue" {
			p.account = parts[n-2]
		}
	}
	if n == 4 && parts[0] == "queue" { // /queue/<region>/<account>/<name>
		p.region = parts[1]
	}
	return p, nil
}

func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func invalidAddress(address string) *wire.Error {
	e := wire.Errorf("InvalidAddress", "The address %s is not valid for this endpoint.", address)
	e.Status = http.StatusNotFound
	return e
}

// urlOf is the URL of a queue as the caller reaches it.
func urlOf(r *wire.Request, p place) string { return r.Endpoint + "/" + p.account + "/" + p.name }
