package scheduler

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/outbox"
)

// Target is a schedule's target, as it was put; what a client has left out has AWS's default.
type Target struct {
	Arn                   *string                `json:"Arn"`
	RoleArn               *string                `json:"RoleArn"`
	Input                 *string                `json:"Input,omitzero"`
	DeadLetterConfig      *deadLetterConfig      `json:"DeadLetterConfig,omitzero"`
	RetryPolicy           *retryPolicy           `json:"RetryPolicy,omitzero"`
	EventBridgeParameters *eventBridgeParameters `json:"EventBridgeParameters,omitzero"`
	KinesisParameters     *kinesisParameters     `json:"KinesisParameters,omitzero"`
	SqsParameters         *sqsParameters         `json:"SqsParameters,omitzero"`

	EcsParameters               jsontext.Value `json:"EcsParameters,omitzero"`
	SageMakerPipelineParameters jsontext.Value `json:"SageMakerPipelineParameters,omitzero"`
}

type deadLetterConfig struct {
	Arn *string `json:"Arn,omitzero"`
}

type retryPolicy struct {
	MaximumEventAgeInSeconds *int64 `json:"MaximumEventAgeInSeconds,omitzero"`
	MaximumRetryAttempts     *int64 `json:"MaximumRetryAttempts,omitzero"`
}

type eventBridgeParameters struct {
	DetailType *string `json:"DetailType"`
	Source     *string `json:"Source"`
}

type kinesisParameters struct {
	PartitionKey *string `json:"PartitionKey"`
}

type sqsParameters struct {
	MessageGroupID *string `json:"MessageGroupId,omitzero"`
}

var (
	rolePattern       = regexp.MustCompile(`^arn:aws(-[a-z]+)?:iam::\d{12}:role/[\w+=,.@/-]+$`)
	deadLetterPattern = regexp.MustCompile(`^arn:aws(-[a-z]+)?:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+$`)
	sourcePattern     = regexp.MustCompile(`^[/.\-_A-Za-z0-9$].*$`)
)

const (
	roleShown       = `^arn:aws(-[a-z]+)?:iam::\d{12}:role\/[\w+=,.@\/-]+$`
	deadLetterShown = `^arn:aws(-[a-z]+)?:sqs:[a-z0-9\-]+:\d{12}:[a-zA-Z0-9\-_]+$`
	sourceShown     = `^(?=[/\.\-_A-Za-z0-9]+)((?!aws\.).*)|(\$(\.[\w_-]+(\[(\d+|\*)\])*)*)$`
)

// check checks the members of a target.
func (t *Target) check(c *check) {
	text := func(member string, v *string, required bool, high int) {
		if required {
			c.Required(member, v != nil)
		}
		if v != nil {
			c.Length(member, *v, 1, high)
		}
	}
	text("target.arn", t.Arn, true, 1600)
	text("target.roleArn", t.RoleArn, true, 1600)
	if t.RoleArn != nil {
		c.Pattern("target.roleArn", *t.RoleArn, rolePattern, roleShown)
	}
	text("target.input", t.Input, false, 0)
	if d := t.DeadLetterConfig; d != nil && d.Arn != nil {
		text("target.deadLetterConfig.arn", d.Arn, false, 1600)
		c.Pattern("target.deadLetterConfig.arn", *d.Arn, deadLetterPattern, deadLetterShown)
	}
	if p := t.RetryPolicy; p != nil {
		if p.MaximumEventAgeInSeconds != nil {
			c.Range("target.retryPolicy.maximumEventAgeInSeconds", *p.MaximumEventAgeInSeconds, 60, 86400)
		}
		if p.MaximumRetryAttempts != nil {
			c.Range("target.retryPolicy.maximumRetryAttempts", *p.MaximumRetryAttempts, 0, outbox.MaxRetries)
		}
	}
	if p := t.EventBridgeParameters; p != nil {
		text("target.eventBridgeParameters.detailType", p.DetailType, true, 128)
		text("target.eventBridgeParameters.source", p.Source, true, 256)
		if p.Source != nil && (strings.HasPrefix(*p.Source, "aws.") || !sourcePattern.MatchString(*p.Source)) {
			c.Pattern("target.eventBridgeParameters.source", *p.Source, never, sourceShown)
		}
	}
	if p := t.KinesisParameters; p != nil {
		text("target.kinesisParameters.partitionKey", p.PartitionKey, true, 256)
	}
	if p := t.SqsParameters; p != nil {
		text("target.sqsParameters.messageGroupId", p.MessageGroupID, false, 128)
	}
}

// never matches nothing: AWS's expression has a look-ahead, which is checked by other means.
var never = regexp.MustCompile(`[^\s\S]`)

// kind is what a target is.
type kind string

const (
	queue     kind = "sqs"
	topic     kind = "sns"
	function  kind = "lambda"
	stream    kind = "kinesis"
	bus       kind = "events"
	universal kind = "universal"
)

const universalPrefix = "arn:aws:scheduler:::aws-sdk:"

// kindOf reads a target's ARN, and demands that it is in a region.
func kindOf(arn, region string) (kind, error) {
	if strings.HasPrefix(arn, universalPrefix) {
		return universal, nil
	}
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[2] == "" || parts[5] == "" {
		return "", invalid("Provided Arn is not in correct format.")
	}
	k := kind(parts[2])
	resource := map[kind]string{queue: "", topic: "", function: "function:", stream: "stream/", bus: "event-bus/"}
	prefix, ok := resource[k]
	switch {
	case !ok:
		return "", invalid("%s is not a supported service for a target.", parts[2])
	case !strings.HasPrefix(parts[5], prefix):
		return "", invalid("Provided Arn is not in correct format.")
	case parts[3] != region:
		return "", invalid("The target ARN provided does not match the current region %s.", region)
	}
	return k, nil
}

// compile says what kind of target it is, and refuses what does not fit it.
func (t *Target) compile(region string) (kind, error) {
	k, err := kindOf(*t.Arn, region)
	if err != nil {
		return "", err
	}
	for _, p := range []struct {
		name  string
		given bool
		of    kind
	}{
		{"EcsParameters", t.EcsParameters != nil, "ecs"},
		{"SageMakerPipelineParameters", t.SageMakerPipelineParameters != nil, "sagemaker"},
		{"EventBridgeParameters", t.EventBridgeParameters != nil, bus},
		{"KinesisParameters", t.KinesisParameters != nil, stream},
		{"SqsParameters", t.SqsParameters != nil, queue},
	} {
		if p.given && p.of != k {
			return "", invalid("Parameters %s not supported for the target.", p.name)
		}
	}
	fifo := strings.HasSuffix(*t.Arn, ".fifo")
	grouped := t.SqsParameters != nil && t.SqsParameters.MessageGroupID != nil
	switch {
	case k == queue && fifo && !grouped:
		return "", invalid("Parameters SqsParameters must be specified.")
	case k == queue && !fifo && grouped:
		return "", invalid("Parameters MessageGroupId not valid for the target.")
	case k == bus && t.EventBridgeParameters == nil:
		return "", invalid("Parameters EventBridgeParameters must be specified.")
	case k == stream && t.KinesisParameters == nil:
		return "", invalid("Parameters KinesisParameters must be specified.")
	case k == universal && (t.Input == nil || *t.Input == ""):
		return "", invalid("You must provide an input to set this target for your schedule.")
	case (k == function || k == bus || k == universal) && t.Input != nil && !event.ValidJSON([]byte(*t.Input)):
		return "", invalid("JSON syntax error in input for the target.")
	case k == bus && t.Input != nil && !strings.HasPrefix(strings.TrimSpace(*t.Input), "{"):
		return "", invalid("The input for an event bus must be a JSON object.")
	case k == universal:
		_, err := t.calls()
		return k, err
	}
	return k, nil
}

// call is one request of a universal target: what it sends, and to whom.
type call struct {
	kind   kind
	target string // ARN
	input  string // template of the message

	subject, groupID, deduplicationID string
	source, detailType                string // of an event
	attributes                        map[string]attribute
}

type attribute struct {
	DataType    string `json:"DataType"`
	StringValue string `json:"StringValue"`
	BinaryValue []byte `json:"BinaryValue"`
}

// calls reads the input of a universal target: the request to an API, with the members that are honoured here. The
// context attributes in it stay as they are.
func (t *Target) calls() ([]call, error) {
	switch api := strings.TrimPrefix(*t.Arn, universalPrefix); api {
	case "sqs:sendMessage":
		var in struct {
			QueueURL               string               `json:"QueueUrl"`
			MessageBody            string               `json:"MessageBody"`
			MessageGroupID         string               `json:"MessageGroupId"`
			MessageDeduplicationID string               `json:"MessageDeduplicationId"`
			MessageAttributes      map[string]attribute `json:"MessageAttributes"`
		}
		if err := t.request(&in); err != nil {
			return nil, err
		}
		arn, err := queueOf(in.QueueURL)
		if err != nil {
			return nil, err
		}
		return []call{{kind: queue, target: arn, input: in.MessageBody, groupID: in.MessageGroupID,
			deduplicationID: in.MessageDeduplicationID, attributes: in.MessageAttributes}}, nil
	case "sns:publish":
		var in struct {
			TopicArn               string               `json:"TopicArn"`
			TargetArn              string               `json:"TargetArn"`
			Message                string               `json:"Message"`
			Subject                string               `json:"Subject"`
			MessageGroupID         string               `json:"MessageGroupId"`
			MessageDeduplicationID string               `json:"MessageDeduplicationId"`
			MessageAttributes      map[string]attribute `json:"MessageAttributes"`
		}
		if err := t.request(&in); err != nil {
			return nil, err
		}
		arn := in.TopicArn + in.TargetArn
		if in.TopicArn != "" && in.TargetArn != "" || !strings.HasPrefix(arn, "arn:") {
			return nil, invalid("The input for sns:publish needs the ARN of one topic.")
		}
		return []call{{kind: topic, target: arn, input: in.Message, subject: in.Subject, groupID: in.MessageGroupID,
			deduplicationID: in.MessageDeduplicationID, attributes: in.MessageAttributes}}, nil
	case "lambda:invoke":
		var in struct {
			FunctionName   string `json:"FunctionName"`
			InvocationType string `json:"InvocationType"`
			Payload        string `json:"Payload"`
		}
		if err := t.request(&in); err != nil {
			return nil, err
		}
		if in.InvocationType != "Event" || !strings.HasPrefix(in.FunctionName, "arn:") {
			return nil, invalid(`The input for lambda:invoke needs the InvocationType "Event" and the ARN of a function in millrace's local stack.`)
		}
		if in.Payload == "" {
			in.Payload = "{}"
		}
		return []call{{kind: function, target: in.FunctionName, input: in.Payload}}, nil
	case "eventbridge:putEvents":
		var in struct {
			Entries []struct {
				Source       string `json:"Source"`
				DetailType   string `json:"DetailType"`
				Detail       string `json:"Detail"`
				EventBusName string `json:"EventBusName"`
			} `json:"Entries"`
		}
		if err := t.request(&in); err != nil {
			return nil, err
		}
		var list []call
		for _, e := range in.Entries {
			if e.Source == "" || strings.HasPrefix(e.Source, "aws.") || e.DetailType == "" || !event.ValidJSON([]byte(e.Detail)) || !strings.HasPrefix(strings.TrimSpace(e.Detail), "{") {
				return nil, invalid("An entry of the input for eventbridge:putEvents is not an event.")
			}
			list = append(list, call{kind: bus, target: e.EventBusName, input: e.Detail, source: e.Source, detailType: e.DetailType})
		}
		if len(list) == 0 || len(list) > 10 {
			return nil, invalid("The input for eventbridge:putEvents needs one to ten entries.")
		}
		return list, nil
	default:
		service, name, ok := strings.Cut(api, ":")
		if !ok {
			return nil, invalid("Provided Arn is not in correct format.")
		}
		if slices.ContainsFunc([]string{"get", "describe", "list"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
			return nil, invalid("%s API is not supported.", name)
		}
		return nil, invalid("%s API of %s is not supported by millrace's local stack; sqs:sendMessage, sns:publish, lambda:invoke and "+
			"eventbridge:putEvents are.", name, service)
	}
}

// request reads a universal target's input. Members that are not honoured here are refused.
func (t *Target) request(in any) error {
	if err := json.Unmarshal([]byte(*t.Input), in, json.RejectUnknownMembers(true)); err != nil {
		return invalid("The input for the target cannot be read, or has members that millrace's local stack does not honour: %v", err)
	}
	return nil
}

// queueOf reads a queue's URL, "https://sqs.<region>.amazonaws.com/<account>/<name>" or one that a stack has made.
// The region is left open if the URL does not tell it.
func queueOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err == nil {
		path := strings.Split(strings.Trim(u.Path, "/"), "/")
		if len(path) >= 2 && len(path[len(path)-2]) == 12 {
			region := ""
			if host := strings.Split(u.Hostname(), "."); len(host) > 2 && host[0] == "sqs" {
				region = host[1]
			}
			return "arn:aws:sqs:" + region + ":" + path[len(path)-2] + ":" + path[len(path)-1], nil
		}
	}
	return "", invalid("The input for sqs:sendMessage needs the URL of a queue.")
}
