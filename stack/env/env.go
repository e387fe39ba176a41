// Package env is what every service of the local stack stands on.
package env

import (
	"context"
	"log/slog"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/store"
)

// Env is handed to a service when it is made.
type Env struct {
	Clock clock.Clock
	Store *store.Store
	Log   *slog.Logger

	// Deliver hands a message to the resource that an ARN names: a queue, a topic, a stream, a function, an event
	// bus, a log group. It returns once that service has accepted the message, as durably as the stack is. An
	// error is a *wire.Error if the service refused; to call again is then of no use unless its Status is 500 or more.
	Deliver func(ctx context.Context, target string, m Message) error

	// Go runs f until it returns; ctx ends when the stack closes, and the stack waits for f then. It runs nothing
	// once the stack has begun to close.
	Go func(f func(ctx context.Context))
}

// Message is what one service sends to another. A target takes of it what its protocol has: a stream the body
// and the partition key, a bus the body alone, which is then the whole event document.
type Message struct {
	// From is the ARN of the resource that sends, as a policy's aws:SourceArn, Principal the service that acts
	// for it, such as "sns.amazonaws.com".
	From, Principal string
	// Account is that of the sender, if From does not say: the ARN of a bucket does not.
	Account string

	Body       string
	Subject    string // for topics
	Attributes map[string]Attribute

	GroupID, DeduplicationID string // for FIFO queues and topics
	PartitionKey             string // for streams
	TraceHeader              string // X-Ray, as the AWSTraceHeader of a queue
}

// Attribute is a message attribute as SQS and SNS have it.
type Attribute struct {
	DataType string // String, Number or Binary, with a custom label after a dot
	String   string
	Binary   []byte // for Binary, instead of String
}
