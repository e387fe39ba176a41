package sqs

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/wire"
)

// Tasks that move the messages of a dead-letter queue back. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-dead-letter-queue-redrive.html.

const (
	taskRunning   = "RUNNING"
	taskCompleted = "COMPLETED"
	taskCancelled = "CANCELLED"
	taskFailed    = "FAILED"

	nonExistentQueue = "AWS.SimpleQueueService.NonExistentQueue"
	unknownSource    = "CouldNotDetermineMessageSource"

	maxMoveRate   = 500 // messages a second
	maxTasks      = 10  // that a queue remembers
	maxActive     = 100 // of an account
	maxTaskLength = 36 * time.Hour
	moveChunk     = 100 // messages that an unlimited task moves without letting others in
)

// moveTask is guarded by the lock of the queue that it empties.
type moveTask struct {
	id            string
	destination   string // ARN, "" for where each message came from
	rate          int32  // messages a second, 0 for as fast as it goes
	status        string
	failure       string
	moved, toMove int64
	started       int64
}

// taskHandle is what a task's handle says, in base64, as AWS's do.
type taskHandle struct {
	TaskID    string `json:"taskId"`
	SourceARN string `json:"sourceArn"`
}

func (q *queue) handleOf(t *moveTask) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"taskId":%q,"sourceArn":%q}`, t.id, q.arn()))
}

// byARN returns the queue of the caller's account and region that an ARN names.
func (s *Service) byARN(r *wire.Request, parameter, arn string) (*queue, error) {
	if arn == "" {
		return nil, missingParameter(parameter)
	}
	if len(strings.Split(arn, ":")) != 6 || !strings.HasPrefix(arn, "arn:") {
		return nil, invalidParameter("You must use this format to specify the %s: arn:<partition>:<service>:<region>:<account-id>:<resource-id>", parameter)
	}
	p, ok := parseARN(arn)
	if ok && p.region == r.Region {
		if q := s.at(p); q != nil {
			return q, nil
		}
	}
	return nil, notFound("The resource that you specified for the %s parameter doesn't exist.", parameter)
}

func (s *Service) startMove(_ context.Context, r *wire.Request, in *startMoveInput) (*startMoveOutput, error) {
	q, err := s.byARN(r, "SourceArn", in.SourceARN)
	if err != nil {
		return nil, err
	}
	if v := in.PerSecond; v != nil && (*v < 1 || *v > maxMoveRate) {
		return nil, invalidValue("MaxNumberOfMessagesPerSecond", *v, "Must be between 1 and %d, if provided.", maxMoveRate)
	}
	if !s.isDeadLetterQueue(q) {
		return nil, invalidParameter("Source queue must be configured as a Dead Letter Queue.")
	}
	if in.DestinationARN != "" {
		to, err := s.byARN(r, "DestinationArn", in.DestinationARN)
		switch {
		case err != nil:
			return nil, err
		case to == q:
			return nil, invalidParameter("Source queue arn and destination queue arn cannot be the same.")
		case to.fifo != q.fifo:
			return nil, invalidParameter("Source queue and destination queue must be of the same type.")
		}
	}
	if n := s.activeTasks(r.Account); n >= maxActive {
		return nil, wire.Errorf("RequestThrottled", "There are %d active message move tasks, which is the maximum of an account.", n)
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	for _, t := range q.tasks {
		if t.status == taskRunning {
			q.leave(now)
			return nil, invalidParameter("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
	}
	t := &moveTask{
		id: newID(), destination: in.DestinationARN, status: taskRunning, started: now, toMove: int64(q.count[ready]),
	}
	if in.PerSecond != nil {
		t.rate = *in.PerSecond
	}
	q.tasks = append(q.tasks, t)
	if len(q.tasks) > maxTasks {
		q.tasks = append([]*moveTask(nil), q.tasks[1:]...)
	}
	err = q.saveTasks()
	c := q.commit()
	q.leave(now)
	if err != nil {
		return nil, err
	}
	if err := c.Wait(); err != nil {
		return nil, err
	}
	s.run(q, t)
	return &startMoveOutput{q.handleOf(t)}, nil
}

// snapshot returns all queues.
func (s *Service) snapshot() []*queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*queue, 0, len(s.queues))
	for _, q := range s.queues {
		list = append(list, q)
	}
	return list
}

func (s *Service) isDeadLetterQueue(q *queue) bool {
	arn := q.arn()
	for _, source := range s.snapshot() {
		if p := source.settings.Load().redrive; p != nil && p.target == arn {
			return true
		}
	}
	return false
}

func (s *Service) activeTasks(account string) (n int) {
	for _, q := range s.snapshot() {
		if q.account != account {
			continue
		}
		q.mu.Lock()
		for _, t := range q.tasks {
			if t.status == taskRunning {
				n++
			}
		}
		q.mu.Unlock()
	}
	return n
}

// run works on a task in the background, until it ends or the stack does. A durable stack goes on with it when it
// starts again.
func (s *Service) run(q *queue, t *moveTask) {
	s.env.Go(func(ctx context.Context) {
		for {
			n := moveChunk
			if t.rate > 0 {
				n = 1
			}
			for range n {
				if !q.moveOne(t) {
					return
				}
			}
			if t.rate > 0 && clock.Sleep(ctx, q.clock, time.Second/time.Duration(t.rate)) != nil || ctx.Err() != nil {
				return
			}
		}
	})
}

// moveOne moves a message for a task, or ends the task. It reports whether the task goes on.
func (q *queue) moveOne(t *moveTask) bool {
	now, err := q.enter()
	if err != nil {
		return false
	}
	if t.status != taskRunning {
		q.leave(now)
		return false
	}
	end := func(status, failure string) bool {
		t.status, t.failure = status, failure
		q.saveTasks() //nolint:errcheck // what is encoded here has been encoded before
		q.commit()
		q.leave(now)
		return false
	}
	if t.moved >= t.toMove || q.ready.front == nil {
		return end(taskCompleted, "")
	}
	if time.Duration(now-t.started) > maxTaskLength {
		return end(taskFailed, "The task has run for longer than 36 hours.")
	}
	m := q.ready.front.front
	target := t.destination
	if target == "" {
		target = m.source
	}
	if target == "" {
		return end(taskFailed, unknownSource)
	}
	to := q.find(target)
	if to == nil || to == q || to.fifo != q.fifo {
		return end(taskFailed, nonExistentQueue)
	}
	q.remove(m)
	q.commit()
	q.leave(now)

	then, err := to.enter()
	if err != nil { // deleted in this moment; the next round says so
		if now, err = q.enter(); err == nil {
			q.restore(m)
			q.leave(now)
		}
		return true
	}
	c := m.copy()
	c.id, c.sent, c.source = newID(), then, "" // a moved message counts as a new one
	c.received, c.total, c.first = 0, 0, 0
	q.eraseFor(to, m)
	to.put(c, then, 0)
	to.commit()
	to.leave(then)

	if now, err = q.enter(); err != nil {
		return false
	}
	t.moved++
	q.saveTasks() //nolint:errcheck // as above
	q.commit()
	q.leave(now)
	return true
}

func (s *Service) cancelMove(_ context.Context, r *wire.Request, in *cancelMoveInput) (*cancelMoveOutput, error) {
	if in.TaskHandle == "" {
		return nil, missingParameter("TaskHandle")
	}
	var h taskHandle
	b, err := base64.StdEncoding.DecodeString(in.TaskHandle)
	if err != nil || json.Unmarshal(b, &h) != nil || h.TaskID == "" || h.SourceARN == "" {
		return nil, invalidParameter("Value for parameter TaskHandle is invalid.")
	}
	q, err := s.byARN(r, "SourceArn", h.SourceARN)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	for _, t := range q.tasks {
		if t.id != h.TaskID {
			continue
		}
		if t.status != taskRunning {
			q.leave(now)
			return nil, invalidParameter("Only active tasks can be cancelled. The task is %s.", t.status)
		}
		t.status = taskCancelled
		out := &cancelMoveOutput{t.moved}
		err := q.saveTasks()
		c := q.commit()
		q.leave(now)
		if err != nil {
			return nil, err
		}
		return out, c.Wait()
	}
	q.leave(now)
	return nil, notFound("Task does not exist.")
}

func (s *Service) listMoves(_ context.Context, r *wire.Request, in *listMovesInput) (*listMovesOutput, error) {
	q, err := s.byARN(r, "SourceArn", in.SourceARN)
	if err != nil {
		return nil, err
	}
	most := 1
	if v := in.MaxResults; v != nil {
		if most = int(*v); most < 1 || most > maxTasks {
			return nil, invalidValue("MaxResults", *v, "Must be between 1 and %d, if provided.", maxTasks)
		}
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	out := &listMovesOutput{}
	for i := len(q.tasks) - 1; i >= 0 && len(out.Results) < most; i-- {
		t := q.tasks[i]
		res := moveResult{
			Status: t.status, SourceARN: q.arn(), DestinationARN: t.destination, PerSecond: t.rate, Moved: t.moved, ToMove: t.toMove,
			FailureReason: t.failure, StartedTimestamp: t.started / int64(time.Millisecond),
		}
		if t.status == taskRunning {
			res.TaskHandle = q.handleOf(t)
		}
		out.Results = append(out.Results, res)
	}
	q.commit()
	q.leave(now)
	return out, nil
}

// taskRecord is a task as it is kept.
type taskRecord struct {
	ID, Destination, Status, Failure string
	Rate                             int32
	Moved, ToMove, Started           int64
}

func (q *queue) saveTasks() error {
	if !q.store.Durable() {
		return nil
	}
	list := make([]taskRecord, len(q.tasks))
	for i, t := range q.tasks {
		list[i] = taskRecord{t.id, t.destination, t.status, t.failure, t.rate, t.moved, t.toMove, t.started}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encoding the tasks of %s: %w", q.name, err)
	}
	q.changes.Set(keyTasks+q.id.String(), b)
	return nil
}

func (q *queue) loadTasks(value []byte) error {
	var list []taskRecord
	if err := json.Unmarshal(value, &list); err != nil {
		return err
	}
	for _, t := range list {
		q.tasks = append(q.tasks, &moveTask{
			id: t.ID, destination: t.Destination, rate: t.Rate, status: t.Status, failure: t.Failure,
			moved: t.Moved, toMove: t.ToMove, started: t.Started,
		})
	}
	return nil
}
