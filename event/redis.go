package event

import "time"

// RedisMessage is a message of a Redis channel.
//
// As with NATSMessage, the document is millrace's own, in AWS's manner.
//
//	{"Records":[{
//	  "eventSource": "millrace:redis",
//	  "eventSourceARN": "arn:millrace:redis:us-east-1:123456789012:prices",
//	  "awsRegion": "us-east-1",
//	  "channel": "prices.chf",
//	  "pattern": "prices.*",
//	  "timestamp": 1764150000123,
//	  "data": "MS4wNA=="
//	}]}
//
// pattern is absent if the channel itself was subscribed to. A keyspace notification is a message like any
// other: its channel names the key or the event, its data the other of the two. An entry of a Redis stream
// is to have stream, messageId and fields in place of channel, pattern and data; the rest stays.
type RedisMessage struct {
	ARN     string    // of the trigger; may be empty
	Region  string    // may be empty
	Channel string    // that the message was published to
	Pattern string    // that matched it; may be empty
	Time    time.Time // when the hub received it: Redis tells none
	Data    []byte
}

// AppendRedis appends the document of messages.
func AppendRedis(dst []byte, messages []RedisMessage) []byte {
	dst = append(dst, `{"Records":[`...)
	for i := range messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRedisRecord(dst, &messages[i])
	}
	return append(dst, `]}`...)
}

func appendRedisRecord(dst []byte, m *RedisMessage) []byte {
	dst = append(dst, `{"eventSource":"millrace:redis"`...)
	dst = appendOptional(dst, `,"eventSourceARN":`, m.ARN)
	dst = appendOptional(dst, `,"awsRegion":`, m.Region)
	dst = append(dst, `,"channel":`...)
	dst = AppendString(dst, m.Channel)
	dst = appendOptional(dst, `,"pattern":`, m.Pattern)
	dst = append(dst, `,"timestamp":`...)
	dst = AppendInt(dst, m.Time.UnixMilli())
	dst = append(dst, `,"data":`...)
	dst = AppendBase64(dst, m.Data)
	return append(dst, '}')
}
