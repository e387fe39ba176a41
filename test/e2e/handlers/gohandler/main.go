// Gohandler is an ordinary aws-lambda-go program for tests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do string `json:"do"`
}

func handle(ctx context.Context, raw json.RawMessage) (any, error) {
	var e event
	_ = json.Unmarshal(raw, &e)
	lc, _ := lambdacontext.FromContext(ctx)
	fmt.Println("go saw", lc.AwsRequestID)
	switch e.Do {
	case "fail":
		return nil, errors.New("asked to fail")
	case "panic":
		panic("asked to panic")
	}
	return map[string]any{"from": "go", "id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "event": raw}, nil
}

func main() { lambda.Start(handle) }
