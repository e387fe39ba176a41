// Handler is the stock aws-lambda-go program that benchmarks invoke: it answers with its event.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	if os.Getenv("BENCH_EXIT") != "" { // the floor of a cold start
		return
	}
	lambda.Start(func(_ context.Context, event json.RawMessage) (json.RawMessage, error) { return event, nil })
}
