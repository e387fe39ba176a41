// Package sources defines what takes events that are pushed to the hub: HTTP gateways, notifications,
// pub/sub, schedules. A kind knows its protocol and makes the event document; what happens to the document
// is the Hub's business.
package sources

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/executor"
)

// Source takes what is pushed.
type Source interface {
	// Run takes events and hands each to hub until ctx is done. Then it takes nothing new, lets what it has
	// taken end, and returns nil; work that outlives ctx uses a context that does too. It returns an error
	// only for what will not heal by itself: a lost connection is tried again, with back-off, inside Run.
	// A source acknowledges an event upstream only after hub has answered for it.
	Run(ctx context.Context, hub Hub) error
}

// Hub is what a source may ask of the hub that runs it. The functions may be called concurrently.
type Hub struct {
	// Invoke runs the trigger's function and waits. Its errors are those of executor.Function. ID, Attempt
	// and ARN may be left empty: Invoke fills them in.
	Invoke func(context.Context, executor.Request) (executor.Response, error)

	// Accept returns once the request is durable; the function then runs at least once. An *executor.Error
	// of kind TooLarge or Refused means that it never will.
	Accept func(context.Context, executor.Request) error

	// Mount serves h on the gateway until unmount is called; unmount waits for requests under way. The
	// pattern is an escaped path, which covers all below it if it ends in a slash ("/hooks/" does not cover
	// "/hooks"), with or without a host in front: "api.example.test/". A host wins over none, then the longest
	// path. h sees the path as the client wrote it. It is an error if the pattern is taken.
	Mount func(pattern string, h http.Handler) (unmount func(), err error)

	// Function finds another function of the file, for authorizers.
	Function func(name string) (executor.Function, error)
}

// A Config of a source that mounts handlers or names functions has these methods too, so that collisions and
// missing functions are reported before anything starts, and people are told what to try.
type (
	// Mounter lists the patterns that the source will mount.
	Mounter interface{ Patterns() []string }
	// Caller lists the functions that the source calls by name.
	Caller interface{ Functions() []string }
	// Exampler gives a command for people to copy that makes the source take an event, or "". In it {gateway}
	// stands for the gateway's URL, and {dir} for the folder of the file.
	Exampler interface{ Example() string }
)
