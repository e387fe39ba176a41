package sqs

import (
	"bytes"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/event"
)

// WriteJSON writes what json.Marshal would, with less work: answers to receives and batches are most of what a queue
// under load writes.
func (o *receiveOutput) WriteJSON(b *bytes.Buffer) {
	size := 64
	for i := range o.Messages {
		size += 320 + len(o.Messages[i].Body)
	}
	b.Grow(size)
	dst := append(b.AvailableBuffer(), '{')
	for i := range o.Messages {
		m := &o.Messages[i]
		dst = append(dst, next(i, `"Messages":[`)...)
		dst = appendMember(dst, `{"MessageId":`, m.MessageID)
		dst = appendMember(dst, `,"ReceiptHandle":`, m.ReceiptHandle)
		dst = appendMember(dst, `,"MD5OfBody":`, m.MD5OfBody)
		dst = appendMember(dst, `,"Body":`, m.Body)
		if len(m.Attributes) > 0 {
			open := `,"Attributes":{`
			for _, k := range slices.Sorted(maps.Keys(m.Attributes)) {
				dst = event.AppendString(append(dst, open...), k)
				dst = appendMember(dst, ":", m.Attributes[k])
				open = ","
			}
			dst = append(dst, '}')
		}
		dst = appendOptional(dst, `,"MD5OfMessageAttributes":`, m.MD5OfAttributes)
		if len(m.MessageAttributes) > 0 {
			v, err := json.Marshal(m.MessageAttributes, json.Deterministic(true))
			if err != nil {
				panic(err) // it holds strings and bytes
			}
			dst = append(append(dst, `,"MessageAttributes":`...), v...)
		}
		dst = append(dst, '}')
	}
	b.Write(append(closeList(dst, len(o.Messages)), '}'))
}

// WriteJSON is that of receiveOutput.
func (o *sendBatchOutput) WriteJSON(b *bytes.Buffer) {
	b.Grow(64 + 192*len(o.Successful))
	dst := append(b.AvailableBuffer(), '{')
	for i := range o.Successful {
		r := &o.Successful[i]
		dst = append(dst, next(i, `"Successful":[`)...)
		dst = appendMember(dst, `{"Id":`, r.ID)
		dst = appendMember(dst, `,"MessageId":`, r.MessageID)
		dst = appendMember(dst, `,"MD5OfMessageBody":`, r.MD5OfBody)
		dst = appendOptional(dst, `,"MD5OfMessageAttributes":`, r.MD5OfAttributes)
		dst = appendOptional(dst, `,"MD5OfMessageSystemAttributes":`, r.MD5OfSystemAttributes)
		dst = appendOptional(dst, `,"SequenceNumber":`, r.SequenceNumber)
		dst = append(dst, '}')
	}
	dst = closeList(dst, len(o.Successful))
	b.Write(append(appendFailed(dst, len(o.Successful) > 0, o.Failed), '}'))
}

// WriteJSON is that of receiveOutput.
func (o *deleteBatchOutput) WriteJSON(b *bytes.Buffer) {
	dst := append(b.AvailableBuffer(), '{')
	for i := range o.Successful {
		dst = append(dst, next(i, `"Successful":[`)...)
		dst = append(appendMember(dst, `{"Id":`, o.Successful[i].ID), '}')
	}
	dst = closeList(dst, len(o.Successful))
	b.Write(append(appendFailed(dst, len(o.Successful) > 0, o.Failed), '}'))
}

func appendFailed(dst []byte, more bool, failed []failedEntry) []byte {
	if more && len(failed) > 0 {
		dst = append(dst, ',')
	}
	for i := range failed {
		f := &failed[i]
		dst = append(dst, next(i, `"Failed":[`)...)
		dst = appendMember(dst, `{"Id":`, f.ID)
		dst = event.AppendBool(append(dst, `,"SenderFault":`...), f.SenderFault)
		dst = appendMember(dst, `,"Code":`, f.Code)
		dst = append(appendOptional(dst, `,"Message":`, f.Message), '}')
	}
	return closeList(dst, len(failed))
}

// next is what stands before element i of a list that open begins.
func next(i int, open string) string {
	if i == 0 {
		return open
	}
	return ","
}

func closeList(dst []byte, n int) []byte {
	if n > 0 {
		return append(dst, ']')
	}
	return dst
}

func appendMember(dst []byte, name, value string) []byte {
	return event.AppendString(append(dst, name...), value)
}

func appendOptional(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendMember(dst, name, value)
}
