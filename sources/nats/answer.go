package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	client "github.com/nats-io/nats.go"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/sources"
)

// Headers of an answer that is an error. The first two are those of the NATS services protocol (ADR-32), so
// that the clients of services see a failure; the third is Lambda's, and says that the function itself failed
// and that its error document is the data.
const (
	headerError         = "Nats-Service-Error"
	headerErrorCode     = "Nats-Service-Error-Code"
	headerFunctionError = "X-Amz-Function-Error"
)

// answer runs the function on a request and publishes what it answers:
//
//   - the answer itself;
//   - for a function that failed, its error document with code 500 and X-Amz-Function-Error;
//   - where there is no answer, no data and a code in HTTP's sense: 400 the function can not take the request,
//     413 it is too large, 429 the function is over its concurrency, 503 it is not there now, 500 the hub is
//     at fault; also 500 if the answer is larger than the server lets through.
func (r *run) answer(ctx context.Context, m message, req executor.Request) {
	resp, err := r.hub.Invoke(ctx, req)
	result, reply := answered, client.NewMsg(m.Reply)
	switch {
	case err != nil:
		result = failed
		fail(reply, code(err), err.Error())
	case resp.Failure != nil:
		fail(reply, 500, resp.Failure.Type+": "+resp.Failure.Message)
		reply.Header.Set(headerFunctionError, "Unhandled")
		reply.Data = resp.Payload
	default:
		reply.Data = resp.Payload
	}
	err = m.RespondMsg(reply)
	if errors.Is(err, client.ErrMaxPayload) {
		result, reply = failed, client.NewMsg(m.Reply)
		fail(reply, 500, fmt.Sprintf("the answer of %d bytes is over the server's max_payload", len(resp.Payload)))
		err = m.RespondMsg(reply)
	}
	if err != nil {
		result = sources.Lost
		r.deps.Log.Error("a request can not be answered", slog.String("subject", m.Subject), slog.Any("error", err))
	}
	r.count(result)
}

// maxError bounds the text of an error in a header.
const maxError = 1 << 10

func fail(reply *client.Msg, code int, text string) {
	reply.Header.Set(headerError, text[:min(len(text), maxError)])
	reply.Header.Set(headerErrorCode, strconv.Itoa(code))
}

func code(err error) int {
	var e *executor.Error
	if !errors.As(err, &e) {
		return 500
	}
	switch e.Kind {
	case executor.Refused:
		return 400
	case executor.TooLarge:
		return 413
	case executor.Throttled:
		return 429
	case executor.Unready, executor.Canceled, executor.Closed:
		return 503
	case executor.Internal:
	}
	return 500
}
