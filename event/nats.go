package event

import (
	"slices"
	"time"
)

// NATSMessage is a message of NATS.
//
// AWS has no such event, so the document is millrace's own, in the manner of AWS's records of queues and
// streams: a list Records, lowerCamel keys, eventSource to tell kinds apart, the payload in base64 with its
// metadata beside it, times in milliseconds.
//
//	{"Records":[{
//	  "eventSource": "millrace:nats",
//	  "eventSourceARN": "arn:millrace:nats:us-east-1:123456789012:orders",
//	  "awsRegion": "us-east-1",
//	  "subject": "orders.eu.created",
//	  "reply": "_INBOX.7vGx",
//	  "queueGroup": "billing",
//	  "timestamp": 1764150000123,
//	  "headers": {"Nats-Msg-Id": ["42"]},
//	  "data": "aGVsbG8="
//	}]}
//
// reply and queueGroup are absent where there is none; headers and data never are. A message of core NATS
// has one record. A message of a JetStream stream is to have the same keys and an object jetstream beside
// them, with what only a stream knows (its name, the sequences, the count of deliveries), so that one
// handler reads both.
type NATSMessage struct {
	ARN        string    // of the trigger; may be empty
	Region     string    // may be empty
	Subject    string    // that the message was published to, not the pattern that was subscribed to
	Reply      string    // where an answer is waited for; may be empty
	QueueGroup string    // that the hub took the message for; may be empty
	Time       time.Time // when the hub received it: core NATS has no time of its own
	Headers    map[string][]string
	Data       []byte
}

// AppendNATS appends the document of messages.
func AppendNATS(dst []byte, messages []NATSMessage) []byte {
	dst = append(dst, `{"Records":[`...)
	for i := range messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendNATSRecord(dst, &messages[i])
	}
	return append(dst, `]}`...)
}

func appendNATSRecord(dst []byte, m *NATSMessage) []byte {
	dst = append(dst, `{"eventSource":"millrace:nats"`...)
	dst = appendOptional(dst, `,"eventSourceARN":`, m.ARN)
	dst = appendOptional(dst, `,"awsRegion":`, m.Region)
	dst = append(dst, `,"subject":`...)
	dst = AppendString(dst, m.Subject)
	dst = appendOptional(dst, `,"reply":`, m.Reply)
	dst = appendOptional(dst, `,"queueGroup":`, m.QueueGroup)
	dst = append(dst, `,"timestamp":`...)
	dst = AppendInt(dst, m.Time.UnixMilli())
	dst = append(dst, `,"headers":{`...)
	dst = appendNATSHeaders(dst, m.Headers)
	dst = append(dst, `},"data":`...)
	dst = AppendBase64(dst, m.Data)
	return append(dst, '}')
}

// appendNATSHeaders appends the members sorted by name, so that the same message makes the same document.
func appendNATSHeaders(dst []byte, headers map[string][]string) []byte {
	var few [16]string
	names := few[:0]
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, name)
		dst = append(dst, ':', '[')
		for j, value := range headers[name] {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, value)
		}
		dst = append(dst, ']')
	}
	return dst
}

// appendOptional appends a key, with its punctuation, and a string, unless that is empty.
func appendOptional(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return AppendString(append(dst, key...), value)
}
