package sqs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/wire"
)

// The operations on messages.

// draft is a message that is not in a queue yet, and what its sender is told.
type draft struct {
	m         *message
	delay     time.Duration
	systemMD5 string
}

// compose checks a message for a queue. trace is the X-Ray header that the request itself carries, which the message
// takes if it has none. The queue's lock is not needed.
func compose(q *queue, in *sendEntry, sender, trace string) (draft, error) {
	set := q.settings.Load()
	d := draft{delay: set.delay}
	if in.Body == "" {
		return d, missingParameter("MessageBody")
	}
	if err := checkText("message body", in.Body); err != nil {
		return d, err
	}
	attributes, err := readAttributes(in.Attributes)
	if err != nil {
		return d, err
	}
	system, err := readSystemAttributes(in.SystemAttributes)
	if err != nil {
		return d, err
	}
	if messageSize(in.Body, attributes) > set.maxSize {
		return d, invalidParameter("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", set.maxSize)
	}
	if in.DelaySeconds != nil {
		n := *in.DelaySeconds
		switch {
		case n < 0 || time.Duration(n)*time.Second > maxDelay:
			return d, invalidValue("DelaySeconds", n, "DelaySeconds must be >= 0 and <= 900.")
		case q.fifo && n != 0:
			return d, wrongQueueType("DelaySeconds", n)
		case !q.fifo:
			d.delay = time.Duration(n) * time.Second
		}
	}
	m := &message{
		id: newID(), body: in.Body, md5: md5Hex(in.Body), attributes: attributes, attributesMD5: attributesDigest(attributes),
		sender: sender,
	}
	if len(system) > 0 {
		m.trace, d.systemMD5 = system[0].value, attributesDigest(system)
	} else {
		m.trace = trace
	}
	if in.GroupID != nil {
		if err := checkFifoID("MessageGroupId", *in.GroupID); err != nil {
			return d, err
		}
		m.group, m.grouped = *in.GroupID, true
	} else if q.fifo {
		return d, missingParameter("MessageGroupId")
	}
	switch {
	case in.DeduplicationID != nil && !q.fifo:
		return d, invalidValue("MessageDeduplicationId", *in.DeduplicationID,
			"The request includes a parameter that is not valid for this queue type.")
	case in.DeduplicationID != nil:
		if err := checkFifoID("MessageDeduplicationId", *in.DeduplicationID); err != nil {
			return d, err
		}
		m.dedup = *in.DeduplicationID
	case q.fifo && set.contentDedup:
		sum := sha256.Sum256([]byte(in.Body))
		m.dedup = hex.EncodeToString(sum[:])
	case q.fifo:
		return d, errNoDeduplication()
	}
	d.m = m
	return d, nil
}

func errNoDeduplication() *wire.Error {
	return invalidParameter("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
}

// send takes in a message, with the lock held. It returns the id and order of the message, which are those of the
// earlier one if this one repeats it.
func (q *queue) send(d draft, now int64) (id string, order uint64) {
	m := d.m
	m.sent = now
	visible := now + int64(d.delay)
	if !q.fifo {
		q.put(m, now, visible)
		return m.id, m.order
	}
	e := &sentBefore{key: dedupID{id: m.dedup}, message: m.id, expires: now + int64(dedupWindow)}
	if q.settings.Load().groupScope {
		e.key.group = m.group
	}
	if earlier := q.dedup.find(e.key); earlier != nil {
		q.saveSent(earlier) // so that the answer to this one, too, waits until the first is on disk
		return earlier.message, earlier.order
	}
	q.put(m, now, visible)
	e.order = m.order
	q.dedup.add(e)
	q.saveSent(e)
	return m.id, m.order
}

func (q *queue) sequence(order uint64) string {
	if !q.fifo {
		return ""
	}
	return sequenceNumber(order)
}

func senderOf(r *wire.Request) string {
	if r.AccessKey != "" {
		return r.AccessKey
	}
	return r.Account
}

func (s *Service) sendMessage(_ context.Context, r *wire.Request, in *sendMessageInput) (*sendMessageOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	d, err := compose(q, &sendEntry{
		Body: in.Body, DelaySeconds: in.DelaySeconds, Attributes: in.Attributes, SystemAttributes: in.SystemAttributes,
		DeduplicationID: in.DeduplicationID, GroupID: in.GroupID,
	}, senderOf(r), r.TraceHeader)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	id, order := q.send(d, now)
	c := q.commit()
	q.leave(now)
	if err := c.Wait(); err != nil {
		return nil, err
	}
	return &sendMessageOutput{
		MD5OfBody: d.m.md5, MD5OfAttributes: d.m.attributesMD5, MD5OfSystemAttributes: d.systemMD5,
		MessageID: id, SequenceNumber: q.sequence(order),
	}, nil
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkBatch checks the ids of a batch's entries, which kind names.
func checkBatch(kind string, n int, id func(int) string) error {
	switch {
	case n == 0:
		return batchError("EmptyBatchRequest", "There should be at least one %sRequestEntry in the request.", kind)
	case n > maxBatch:
		return batchError("TooManyEntriesInBatchRequest", "Maximum number of entries per request are %d. You have sent %d.", maxBatch, n)
	}
	for i := range n {
		if !entryID.MatchString(id(i)) {
			return batchError("InvalidBatchEntryId",
				"A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		for j := range i {
			if id(i) == id(j) {
				return batchError("BatchEntryIdsNotDistinct", "Id %s repeated.", id(i))
			}
		}
	}
	return nil
}

// failed is an entry's part of a batch's answer.
func failed(id string, err error) failedEntry {
	f := failedEntry{ID: id, Code: "InternalError", Message: err.Error()}
	var e *wire.Error
	if errors.As(err, &e) {
		f.SenderFault, f.Code, f.Message = e.Status < 500, e.QueryCode, e.Message
		if f.Code == "" {
			f.Code = e.Code
		}
	}
	return f
}

func (s *Service) sendBatch(_ context.Context, r *wire.Request, in *sendBatchInput) (*sendBatchOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := checkBatch("SendMessageBatch", len(in.Entries), func(i int) string { return in.Entries[i].ID }); err != nil {
		return nil, err
	}
	total, contentDedup := 0, q.settings.Load().contentDedup
	for i := range in.Entries {
		e := &in.Entries[i]
		total += len(e.Body)
		for name, a := range e.Attributes {
			total += len(name) + len(a.DataType) + len(a.BinaryValue)
			if a.StringValue != nil {
				total += len(*a.StringValue)
			}
		}
		// What makes every entry of a producer wrong fails the whole request, as recordings of AWS show.
		if q.fifo && e.GroupID == nil {
			return nil, invalidParameter("The request must contain the parameter MessageGroupId.")
		}
		if q.fifo && e.DeduplicationID == nil && !contentDedup {
			return nil, errNoDeduplication()
		}
	}
	if total > maxMessageSize {
		return nil, batchError("BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxMessageSize, total)
	}
	out := &sendBatchOutput{Successful: make([]sendResult, 0, len(in.Entries))}
	var drafts [maxBatch]draft
	sender := senderOf(r)
	for i := range in.Entries {
		d, err := compose(q, &in.Entries[i], sender, r.TraceHeader)
		if err != nil {
			out.Failed = append(out.Failed, failed(in.Entries[i].ID, err))
			continue
		}
		drafts[i] = d
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	for i := range in.Entries {
		d := drafts[i]
		if d.m == nil {
			continue
		}
		id, order := q.send(d, now)
		out.Successful = append(out.Successful, sendResult{
			ID: in.Entries[i].ID, MessageID: id, MD5OfBody: d.m.md5, MD5OfAttributes: d.m.attributesMD5,
			MD5OfSystemAttributes: d.systemMD5, SequenceNumber: q.sequence(order),
		})
	}
	c := q.commit()
	q.leave(now)
	if err := c.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// System attributes that a receive can ask for.
const (
	sysSender       = "SenderId"
	sysSent         = "SentTimestamp"
	sysReceiveCount = "ApproximateReceiveCount"
	sysFirstReceive = "ApproximateFirstReceiveTimestamp"
	sysSequence     = "SequenceNumber"
	sysDedup        = "MessageDeduplicationId"
	sysGroup        = "MessageGroupId"
	sysTrace        = traceHeader
	sysSource       = "DeadLetterQueueSourceArn"
)

// wanted is what a receive wants to know of each message.
type wanted struct {
	system  uint16 // bits by systemBit
	all     bool
	names   []string
	prefix  []string
	nothing bool // of the message attributes
}

func systemBit(name string) uint16 {
	switch name {
	case sysSender:
		return 1
	case sysSent:
		return 1 << 1
	case sysReceiveCount:
		return 1 << 2
	case sysFirstReceive:
		return 1 << 3
	case sysSequence:
		return 1 << 4
	case sysDedup:
		return 1 << 5
	case sysGroup:
		return 1 << 6
	case sysTrace:
		return 1 << 7
	case sysSource:
		return 1 << 8
	case attrAll:
		return 1<<9 - 1
	}
	return 0
}

func readWanted(r *wire.Request, in *receiveInput) (w wanted, err error) {
	lists := [][]string{in.AttributeNames, in.SystemAttributeNames}
	if r.Query && len(in.AttributeNames) > 0 {
		lists = lists[:1] // recordings show that the older parameter wins in the Query protocol, and both count in JSON
	}
	for _, list := range lists {
		for _, name := range list {
			bit := systemBit(name)
			if bit == 0 {
				return w, invalidAttributeName("Unknown Attribute %s.", name)
			}
			w.system |= bit
		}
	}
	for _, name := range in.MessageAttributes {
		switch {
		case name == attrAll || name == "*" || name == ".*":
			w.all = true
		case strings.HasSuffix(name, ".*"):
			w.prefix = append(w.prefix, name[:len(name)-2])
		default:
			w.names = append(w.names, name)
		}
	}
	w.nothing = len(in.MessageAttributes) == 0
	return w, nil
}

func (w *wanted) attribute(name string) bool {
	if w.all {
		return true
	}
	for _, n := range w.names {
		if n == name {
			return true
		}
	}
	for _, p := range w.prefix {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// show is a message as the receiver sees it.
func (w *wanted) show(q *queue, d *delivery) receivedMessage {
	m := d.message
	out := receivedMessage{MessageID: m.id, ReceiptHandle: d.receipt.String(), MD5OfBody: m.md5, Body: m.body}
	if w.system != 0 {
		out.Attributes = make(map[string]string, 8)
		set := func(name, value string) {
			if value != "" && w.system&systemBit(name) != 0 {
				out.Attributes[name] = value
			}
		}
		set(sysSender, m.sender)
		set(sysSent, milliseconds(m.sent))
		set(sysReceiveCount, strconv.Itoa(d.received))
		set(sysFirstReceive, milliseconds(d.first))
		set(sysGroup, m.group)
		set(sysTrace, m.trace)
		set(sysSource, m.source)
		if q.fifo {
			set(sysSequence, sequenceNumber(m.order))
			set(sysDedup, m.dedup)
		}
	}
	if w.nothing || len(m.attributes) == 0 {
		return out
	}
	list := make([]attribute, 0, len(m.attributes))
	for _, a := range m.attributes {
		if w.attribute(a.name) {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return out
	}
	out.MD5OfAttributes = m.attributesMD5
	if len(list) < len(m.attributes) {
		out.MD5OfAttributes = attributesDigest(list)
	}
	out.MessageAttributes = make(map[string]messageAttribute, len(list))
	for _, a := range list {
		v := messageAttribute{DataType: a.dataType}
		if a.binary() {
			v.BinaryValue = []byte(a.value)
		} else {
			v.StringValue = &a.value
		}
		out.MessageAttributes[a.name] = v
	}
	return out
}

func milliseconds(at int64) string { return strconv.FormatInt(at/int64(time.Millisecond), 10) }

func (s *Service) receiveMessage(ctx context.Context, r *wire.Request, in *receiveInput) (*receiveOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	set := q.settings.Load()
	ask := request{n: 1, timeout: set.visibility, wait: set.wait, twice: r.Duplicate}
	if v := in.MaxNumberOfMessages; v != nil {
		if *v < 1 || *v > maxBatch {
			return nil, invalidValue("MaxNumberOfMessages", *v, "Must be between 1 and 10, if provided.")
		}
		ask.n = int(*v)
	}
	if v := in.VisibilityTimeout; v != nil {
		if *v < 0 || time.Duration(*v)*time.Second > maxVisibility {
			return nil, invalidValue("VisibilityTimeout", *v, "Must be >= 0 and <= 43200, if provided.")
		}
		ask.timeout = time.Duration(*v) * time.Second
	}
	if v := in.WaitTimeSeconds; v != nil {
		if *v < 0 || time.Duration(*v)*time.Second > maxWait {
			return nil, invalidValue("WaitTimeSeconds", *v, "Must be >= 0 and <= 20, if provided.")
		}
		ask.wait = time.Duration(*v) * time.Second
	}
	if v := in.AttemptID; v != nil {
		if !q.fifo {
			return nil, wrongQueueType("ReceiveRequestAttemptId", *v)
		}
		if err := checkFifoID("ReceiveRequestAttemptId", *v); err != nil {
			return nil, err
		}
		ask.attempt = *v
	}
	w, err := readWanted(r, in)
	if err != nil {
		return nil, err
	}
	got, err := q.receive(ctx, ask)
	if err != nil {
		return nil, err
	}
	out := &receiveOutput{}
	if len(got) > 0 {
		out.Messages = make([]receivedMessage, len(got))
		for i := range got {
			out.Messages[i] = w.show(q, &got[i])
		}
	}
	return out, nil
}

// readHandle reads a receipt handle of a queue's.
func (q *queue) readHandle(handle string) (receipt, error) {
	if handle == "" {
		return receipt{}, missingParameter("ReceiptHandle")
	}
	rec, ok := parseReceipt(handle)
	if !ok {
		return receipt{}, invalidHandle("The input receipt handle %q is not a valid receipt handle.", handle)
	}
	if rec.queue != q.id {
		return receipt{}, invalidHandle("The receipt handle %q is not valid for this queue.", handle)
	}
	return rec, nil
}

func (s *Service) deleteMessage(_ context.Context, r *wire.Request, in *deleteMessageInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	rec, err := q.readHandle(in.ReceiptHandle)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	err = q.delete(in.ReceiptHandle, rec)
	c := q.commit()
	q.leave(now)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, c.Wait()
}

func (s *Service) deleteBatch(_ context.Context, r *wire.Request, in *deleteBatchInput) (*deleteBatchOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := checkBatch("DeleteMessageBatch", len(in.Entries), func(i int) string { return in.Entries[i].ID }); err != nil {
		return nil, err
	}
	out := &deleteBatchOutput{Successful: make([]doneEntry, 0, len(in.Entries))}
	err = each(q, len(in.Entries), func(i int, _ int64) {
		e := &in.Entries[i]
		rec, err := q.readHandle(e.ReceiptHandle)
		if err == nil {
			err = q.delete(e.ReceiptHandle, rec)
		}
		if err != nil {
			out.Failed = append(out.Failed, failed(e.ID, err))
			return
		}
		out.Successful = append(out.Successful, doneEntry{e.ID})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// each runs an operation for each of n entries with the queue's lock held, and waits until all are on disk.
func each(q *queue, n int, f func(i int, now int64)) error {
	now, err := q.enter()
	if err != nil {
		return err
	}
	for i := range n {
		f(i, now)
	}
	c := q.commit()
	q.leave(now)
	return c.Wait()
}

// readTimeout reads the visibility timeout of a change.
func readTimeout(v *int32) (time.Duration, error) {
	switch {
	case v == nil:
		return 0, missingParameter("VisibilityTimeout")
	case *v < 0:
		return 0, invalidValue("VisibilityTimeout", *v, "Must be >= 0 and <= 43200, if provided.")
	case time.Duration(*v)*time.Second > maxVisibility:
		return 0, invalidValue("VisibilityTimeout", *v, "Total VisibilityTimeout for the message is beyond the limit [%d seconds]",
			int64(maxVisibility/time.Second))
	}
	return time.Duration(*v) * time.Second, nil
}

func (s *Service) changeVisibility(_ context.Context, r *wire.Request, in *changeVisibilityInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	timeout, err := readTimeout(in.VisibilityTimeout)
	if err != nil {
		return nil, err
	}
	rec, err := q.readHandle(in.ReceiptHandle)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	err = q.change(in.ReceiptHandle, rec, now, timeout)
	q.commit()
	q.leave(now)
	return &wire.None{}, err
}

func (s *Service) changeBatch(_ context.Context, r *wire.Request, in *changeBatchInput) (*changeBatchOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	if err := checkBatch("ChangeMessageVisibilityBatch", len(in.Entries), func(i int) string { return in.Entries[i].ID }); err != nil {
		return nil, err
	}
	out := &changeBatchOutput{Successful: make([]doneEntry, 0, len(in.Entries))}
	err = each(q, len(in.Entries), func(i int, now int64) {
		e := &in.Entries[i]
		timeout, err := readTimeout(e.VisibilityTimeout)
		var rec receipt
		if err == nil {
			rec, err = q.readHandle(e.ReceiptHandle)
		}
		if err == nil {
			err = q.change(e.ReceiptHandle, rec, now, timeout)
		}
		if err != nil {
			out.Failed = append(out.Failed, failed(e.ID, err))
			return
		}
		out.Successful = append(out.Successful, doneEntry{e.ID})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
