package sqs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Names of queue attributes. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html.
const (
	attrAll           = "All"
	attrVisibility    = "VisibilityTimeout"
	attrDelay         = "DelaySeconds"
	attrMaxSize       = "MaximumMessageSize"
	attrRetention     = "MessageRetentionPeriod"
	attrWait          = "ReceiveMessageWaitTimeSeconds"
	attrPolicy        = "Policy"
	attrRedrive       = "RedrivePolicy"
	attrRedriveAllow  = "RedriveAllowPolicy"
	attrFIFO          = "FifoQueue"
	attrContentDedup  = "ContentBasedDeduplication"
	attrDedupScope    = "DeduplicationScope"
	attrThroughput    = "FifoThroughputLimit"
	attrKey           = "KmsMasterKeyId"
	attrKeyReuse      = "KmsDataKeyReusePeriodSeconds"
	attrManagedSSE    = "SqsManagedSseEnabled"
	attrARN           = "QueueArn"
	attrCreated       = "CreatedTimestamp"
	attrModified      = "LastModifiedTimestamp"
	attrVisible       = "ApproximateNumberOfMessages"
	attrNotVisible    = "ApproximateNumberOfMessagesNotVisible"
	attrDelayed       = "ApproximateNumberOfMessagesDelayed"
	scopeQueue        = "queue"
	scopeGroup        = "messageGroup"
	limitPerQueue     = "perQueue"
	limitPerGroup     = "perMessageGroupId"
	maxVisibility     = 12 * time.Hour
	maxDelay          = 15 * time.Minute
	maxWait           = 20 * time.Second
	defaultKeyReuse   = "300"
	maxRedriveSources = 10
)

// settings are the attributes of a queue that can be set. They do not change; a change makes new ones.
type settings struct {
	// values are the attributes as GetQueueAttributes shows them.
	values map[string]string

	visibility, delay, retention, wait time.Duration
	maxSize                            int
	fifo, contentDedup, groupScope     bool
	redrive                            *redrivePolicy
	allow                              *redriveAllow
}

// redrivePolicy says where messages go that have been received too often.
type redrivePolicy struct {
	target          string // ARN
	maxReceiveCount int
}

// redriveAllow says which queues may have a queue as their dead-letter queue. Those of the same account and region
// if it is nil.
type redriveAllow struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns"`
}

func (a *redriveAllow) allows(source string) bool {
	switch {
	case a == nil || a.Permission == "allowAll":
		return true
	case a.Permission == "byQueue":
		return slices.Contains(a.Sources, source)
	default:
		return false
	}
}

// numeric are the attributes that are whole numbers, and what they may be.
var numeric = map[string]struct{ low, high, normal int64 }{
	attrVisibility: {0, 43_200, 30},
	attrDelay:      {0, 900, 0},
	attrMaxSize:    {1024, maxMessageSize, maxMessageSize},
	attrRetention:  {60, 1_209_600, 345_600},
	attrWait:       {0, 20, 0},
	attrKeyReuse:   {60, 86_400, 300},
}

// defaults are the attributes that a new queue has.
func defaults(fifo bool) map[string]string {
	v := map[string]string{attrManagedSSE: "true"}
	for name, n := range numeric {
		if name != attrKeyReuse {
			v[name] = strconv.FormatInt(n.normal, 10)
		}
	}
	if fifo {
		v[attrFIFO], v[attrContentDedup], v[attrDedupScope], v[attrThroughput] = "true", "false", scopeQueue, limitPerQueue
	}
	return v
}

// normalize checks attributes as they came in a request, for a queue of that type, and returns them as they are kept.
// Those that are empty are to be removed.
func normalize(in map[string]string, fifo bool) (map[string]string, error) {
	out := make(map[string]string, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		if n, ok := numeric[name]; ok {
			i, err := strconv.ParseInt(v, 10, 64)
			if err != nil || i < n.low || i > n.high {
				return nil, invalidAttributeValue(name, "")
			}
			out[name] = strconv.FormatInt(i, 10)
			continue
		}
		switch name {
		case attrFIFO, attrContentDedup:
			if !fifo {
				return nil, invalidAttributeName("Unknown Attribute %s.", name)
			}
			b, ok := readBool(v)
			if !ok {
				return nil, invalidAttributeValue(name, "")
			}
			if name == attrFIFO && !b {
				return nil, invalidAttributeValue(name, "Modifying queue type is not supported.")
			}
			out[name] = strconv.FormatBool(b)
		case attrManagedSSE:
			b, ok := readBool(v)
			if !ok {
				return nil, invalidAttributeValue(name, "")
			}
			out[name] = strconv.FormatBool(b)
		case attrDedupScope, attrThroughput:
			if !fifo {
				return nil, invalidAttributeName("You can specify the %s only when FifoQueue is set to true.", name)
			}
			if name == attrDedupScope && v != scopeQueue && v != scopeGroup ||
				name == attrThroughput && v != limitPerQueue && v != limitPerGroup {
				return nil, invalidAttributeValue(name, "")
			}
			out[name] = v
		case attrPolicy:
			if v != "" {
				if _, err := parsePolicy(v); err != nil {
					return nil, err
				}
			}
			out[name] = v
		case attrRedrive:
			if v != "" {
				if _, err := parseRedrive(v); err != nil {
					return nil, err
				}
			}
			out[name] = v
		case attrRedriveAllow:
			if v != "" {
				if _, err := parseRedriveAllow(v); err != nil {
					return nil, err
				}
			}
			out[name] = v
		case attrKey:
			out[name] = v
		default:
			return nil, invalidAttributeName("Unknown Attribute %s.", name)
		}
	}
	if out[attrKey] != "" && out[attrManagedSSE] == "true" {
		return nil, invalidAttributeName("You can use one type of server-side encryption (SSE) at one time. " +
			"You can either enable KMS SSE or SQS SSE.")
	}
	return out, nil
}

func readBool(s string) (v, ok bool) {
	switch strings.ToLower(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// with returns the settings that come of changing some attributes, which are normalized.
func with(old, changes map[string]string) (*settings, error) {
	v := maps.Clone(old)
	maps.Copy(v, changes)
	// One kind of encryption puts the other off. Nothing is encrypted here, but the attributes behave.
	if changes[attrKey] != "" {
		v[attrManagedSSE] = "false"
	} else if changes[attrManagedSSE] == "true" {
		v[attrKey] = ""
	}
	if v[attrKey] == "" || v[attrKeyReuse] == defaultKeyReuse {
		delete(v, attrKeyReuse)
	}
	maps.DeleteFunc(v, func(_, value string) bool { return value == "" })
	if v[attrThroughput] == limitPerGroup && v[attrDedupScope] != scopeGroup {
		return nil, invalidAttributeValue(attrThroughput,
			"The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.")
	}
	return newSettings(v)
}

// newSettings reads attributes that are complete and valid.
func newSettings(values map[string]string) (*settings, error) {
	s := &settings{values: values}
	seconds := func(name string) time.Duration {
		n, err := strconv.ParseInt(values[name], 10, 64)
		if err != nil {
			n = numeric[name].normal
		}
		return time.Duration(n) * time.Second
	}
	s.visibility, s.delay, s.retention, s.wait = seconds(attrVisibility), seconds(attrDelay), seconds(attrRetention), seconds(attrWait)
	s.maxSize = int(seconds(attrMaxSize) / time.Second)
	s.fifo = values[attrFIFO] == "true"
	s.contentDedup = values[attrContentDedup] == "true"
	s.groupScope = values[attrDedupScope] == scopeGroup
	var err error
	if v := values[attrRedrive]; v != "" {
		if s.redrive, err = parseRedrive(v); err != nil {
			return nil, err
		}
	}
	if v := values[attrRedriveAllow]; v != "" {
		if s.allow, err = parseRedriveAllow(v); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parseRedrive(text string) (*redrivePolicy, error) {
	bad := func(format string, args ...any) error { return invalidValue(attrRedrive, text, format, args...) }
	var members map[string]jsontext.Value
	if err := json.Unmarshal([]byte(text), &members); err != nil || members == nil {
		return nil, bad("Redrive policy is not a valid JSON map.")
	}
	for _, name := range []string{"maxReceiveCount", "deadLetterTargetArn"} {
		if members[name] == nil {
			return nil, bad("Redrive policy does not contain mandatory attribute: %s.", name)
		}
	}
	if len(members) > 2 {
		return nil, bad("Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].")
	}
	count := strings.Trim(string(members["maxReceiveCount"]), `"`)
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > 1000 {
		return nil, bad("Invalid value for maxReceiveCount: %s, valid values are from 1 to 1000 both inclusive.", count)
	}
	p := &redrivePolicy{maxReceiveCount: n}
	if err := json.Unmarshal(members["deadLetterTargetArn"], &p.target); err != nil {
		return nil, bad("Invalid value for deadLetterTargetArn.")
	}
	if _, ok := parseARN(p.target); !ok {
		return nil, bad("Invalid value for deadLetterTargetArn.")
	}
	return p, nil
}

func parseRedriveAllow(text string) (*redriveAllow, error) {
	bad := func(reason string) error {
		return invalidValue(attrRedriveAllow, text, "Amazon SQS can't create the redrive allow policy%s", reason)
	}
	var p redriveAllow
	if err := json.Unmarshal([]byte(text), &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, bad(", as it’s in an unsupported format.")
	}
	switch p.Permission {
	case "allowAll", "denyAll":
		if p.Sources != nil {
			return nil, bad(". To specify one or more source queue ARNs, you must set redrivePermission to byQueue.")
		}
	case "byQueue":
		if len(p.Sources) == 0 {
			return nil, bad(". When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.")
		}
		if len(p.Sources) > maxRedriveSources {
			return nil, bad(fmt.Sprintf(". The maximum number of source queue ARNs you can specify is %d.", maxRedriveSources))
		}
		for _, arn := range p.Sources {
			if _, ok := parseARN(arn); !ok {
				return nil, bad(", as it’s in an unsupported format.")
			}
		}
	default:
		return nil, bad(", as it’s in an unsupported format.")
	}
	return &p, nil
}

// sameAttribute compares two values of an attribute; documents by what they say.
func sameAttribute(name, a, b string) bool {
	switch name {
	case attrPolicy, attrRedrive, attrRedriveAllow:
		return a == b || canonical(name, a) == canonical(name, b)
	}
	return a == b
}

func canonical(name, text string) string {
	if name == attrRedrive {
		if p, err := parseRedrive(text); err == nil {
			return p.target + " " + strconv.Itoa(p.maxReceiveCount) // the count may be a number or a string
		}
	}
	v := jsontext.Value(text)
	if v.Canonicalize() != nil {
		return text
	}
	return string(v)
}

var accountID = regexp.MustCompile(`^\d{12}$`)

// parseARN reads the ARN of a queue.
func parseARN(arn string) (place, bool) {
	p := strings.Split(arn, ":")
	if len(p) != 6 || p[0] != "arn" || !strings.HasPrefix(p[1], "aws") || p[2] != "sqs" || p[3] == "" ||
		!accountID.MatchString(p[4]) || p[5] == "" {
		return place{}, false
	}
	return place{account: p[4], region: p[3], name: p[5]}, true
}
