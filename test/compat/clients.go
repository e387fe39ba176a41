package main

import (
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
	transport := &http.Transport{MaxIdleConnsPerHost: 8} // of one case: the server may have closed those of others
	cfg := aws.Config{
		Region:           region,
		BaseEndpoint:     aws.String(endpoint),
		Credentials:      credentials.StaticCredentialsProvider{Value: key},
		RetryMaxAttempts: 1,
		HTTPClient:       &http.Client{Transport: transport},
	}
	return &Clients{
		SQS: sqs.NewFromConfig(cfg), SNS: sns.NewFromConfig(cfg), Kinesis: kinesis.NewFromConfig(cfg),
		DynamoDB: dynamodb.NewFromConfig(cfg), Streams: dynamodbstreams.NewFromConfig(cfg),
		S3:     s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		Events: eventbridge.NewFromConfig(cfg), Scheduler: scheduler.NewFromConfig(cfg), close: transport.CloseIdleConnections,
	}
}
