package main

import (
	"bytes"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const region = "us-east-1"

// Clients are the SDK's clients of one target. They do not retry: what a target answers first is its answer.
type Clients struct {
	SQS       *sqs.Client
	SNS       *sns.Client
	Kinesis   *kinesis.Client
	DynamoDB  *dynamodb.Client
	Streams   *dynamodbstreams.Client
	S3        *s3.Client
	Events    *eventbridge.Client
	Scheduler *scheduler.Client
	close     func()
}

func newClients(endpoint string, key aws.Credentials) *Clients {
	if key.AccessKeyID == "" {
		key = aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	}
	transport := &http.Transport{} // of one case: the server may have closed the connections of others
	cfg := aws.Config{
		Region:           region,
		BaseEndpoint:     aws.String(endpoint),
		Credentials:      credentials.StaticCredentialsProvider{Value: key},
		RetryMaxAttempts: 1,
		HTTPClient:       &http.Client{Transport: whole{transport}},
	}
	return &Clients{
		SQS: sqs.NewFromConfig(cfg), SNS: sns.NewFromConfig(cfg), Kinesis: kinesis.NewFromConfig(cfg),
		DynamoDB: dynamodb.NewFromConfig(cfg), Streams: dynamodbstreams.NewFromConfig(cfg),
		S3:     s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		Events: eventbridge.NewFromConfig(cfg), Scheduler: scheduler.NewFromConfig(cfg), close: transport.CloseIdleConnections,
	}
}

// whole sends bodies that are in memory. The SDK closes a request's body as soon as it has the answer's header; if
// the transport then still looks whether the body has more, it takes the end for a failure and closes the connection, under
// the hands of whoever reads the answer. A busy machine shows it with large answers.
type whole struct{ next http.RoundTripper }

func (w whole) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return w.next.RoundTrip(r)
}
