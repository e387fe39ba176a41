// Hello is an ordinary AWS Lambda handler. Nothing in it knows millrace.
package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

// request is what this handler looks for: a function URL's request, or the records of a bucket.
type request struct {
	events.LambdaFunctionURLRequest
	Records []events.S3EventRecord
}

func handle(_ context.Context, r request) (any, error) {
	if len(r.Records) > 0 {
		for _, rec := range r.Records {
			fmt.Printf("%s: %s in %s, %d bytes\n", rec.EventName, rec.S3.Object.Key, rec.S3.Bucket.Name, rec.S3.Object.Size)
		}
		return nil, nil
	}
	name := r.QueryStringParameters["name"]
	if name == "" {
		name = "world"
	}
	body, err := json.Marshal(map[string]string{"message": "Hello, " + name + "!"})
	if err != nil {
		return nil, err
	}
	return events.LambdaFunctionURLResponse{
		StatusCode: 200,
		Headers:    map[string]string{"content-type": "application/json"},
		Body:       string(body) + "\n",
	}, nil
}

func main() { lambda.Start(handle) }
