package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// S3Vendor is a store whose notifications ParseS3 reads.
type S3Vendor string

// The stores that ParseS3 knows. They differ in how they encode keys.
const (
	S3Auto    S3Vendor = "auto"      // told by each record
	S3AWS     S3Vendor = "aws"       // AWS, and stores that send its records unchanged: keys are URL-encoded
	S3MinIO   S3Vendor = "minio"     // keys are URL-encoded, slashes too
	S3Versity S3Vendor = "versitygw" // keys are as in the bucket
)

type s3Post struct {
	Event      string // of a test message
	Type       string // of an SNS message
	DetailType string `json:"detail-type"` // of an EventBridge event
	Records    []s3PostRecord
}

// s3PostRecord reads names without regard to case, as encoding/json does: versitygw writes PrincipalId.
type s3PostRecord struct {
	EventSource       string       `json:"eventSource"`
	AWSRegion         string       `json:"awsRegion"`
	EventTime         string       `json:"eventTime"`
	EventName         string       `json:"eventName"`
	UserIdentity      s3PostPerson `json:"userIdentity"`
	RequestParameters struct {
		SourceIPAddress string `json:"sourceIPAddress"`
	} `json:"requestParameters"`
	ResponseElements struct {
		RequestID string `json:"x-amz-request-id"`
		HostID    string `json:"x-amz-id-2"`
	} `json:"responseElements"`
	S3 struct {
		ConfigurationID string `json:"configurationId"`
		Bucket          struct {
			Name          string       `json:"name"`
			OwnerIdentity s3PostPerson `json:"ownerIdentity"`
			ARN           string       `json:"arn"`
		} `json:"bucket"`
		Object struct {
			Key       string `json:"key"`
			Size      int64  `json:"size"`
			ETag      string `json:"eTag"`
			VersionID string `json:"versionId"`
			Sequencer string `json:"sequencer"`
		} `json:"object"`
	} `json:"s3"`
	Glacier     json.RawMessage `json:"glacierEventData"`
	Lifecycle   json.RawMessage `json:"lifecycleEventData"`
	Replication json.RawMessage `json:"replicationEventData"`
	Tiering     json.RawMessage `json:"intelligentTieringEventData"`
}

type s3PostPerson struct {
	PrincipalID string `json:"principalId"`
}

// ParseS3 reads a notification as stores post it and evens out their differences. The test message that a
// store sends when notifications are set up has no records and is no error. What a record does not say is
// left zero: Region, Time, ConfigurationID. A key that is not validly encoded is taken as it is. An error
// says which part of data is wrong.
func ParseS3(data []byte, vendor S3Vendor) ([]S3Record, error) {
	var post s3Post
	if err := json.Unmarshal(data, &post); err != nil {
		return nil, fmt.Errorf("reading an S3 notification: %w", jsonError(data, err))
	}
	switch {
	case len(post.Records) > 0:
	case post.Event == "s3:TestEvent":
		return nil, nil
	case post.Type != "":
		return nil, errors.New("this is a message of SNS, not a notification of S3; use a trigger of kind sns")
	case post.DetailType != "":
		return nil, errors.New("this is an event of EventBridge, not a notification of S3; send the bucket's notifications instead")
	default:
		return nil, errors.New(`this is not a notification of S3: it has no "Records"`)
	}
	records := make([]S3Record, len(post.Records))
	for i := range post.Records {
		var err error
		if records[i], err = post.Records[i].record(vendor); err != nil {
			return nil, fmt.Errorf("reading an S3 notification: Records[%d].%w", i, err)
		}
	}
	return records, nil
}

func (p *s3PostRecord) record(vendor S3Vendor) (S3Record, error) {
	bucket, object := &p.S3.Bucket, &p.S3.Object
	if vendor == S3Auto || vendor == "" {
		vendor = p.vendor()
	}
	r := S3Record{
		Name:            awsEventName(p.EventName),
		Region:          p.AWSRegion,
		PrincipalID:     p.UserIdentity.PrincipalID,
		SourceIP:        p.RequestParameters.SourceIPAddress,
		RequestID:       p.ResponseElements.RequestID,
		HostID:          p.ResponseElements.HostID,
		ConfigurationID: p.S3.ConfigurationID,
		Bucket:          bucket.Name,
		BucketOwner:     bucket.OwnerIdentity.PrincipalID,
		Key:             object.Key,
		Size:            object.Size,
		ETag:            strings.Trim(object.ETag, `"`),
		VersionID:       object.VersionID,
		Sequencer:       object.Sequencer,
	}
	if r.Name == "" {
		return r, errors.New("eventName is missing")
	}
	if r.Bucket == "" {
		return r, errors.New("s3.bucket.name is missing")
	}
	if r.Key == "" && !strings.HasPrefix(r.Name, "Bucket") {
		return r, errors.New("s3.object.key is missing")
	}
	if r.Size < 0 {
		return r, fmt.Errorf("s3.object.size is %d", r.Size)
	}
	if p.EventTime != "" {
		t, err := time.Parse(time.RFC3339, p.EventTime)
		if err != nil {
			return r, fmt.Errorf("eventTime is %q, not a time such as 2006-01-02T15:04:05.000Z", p.EventTime)
		}
		r.Time = t
	}
	if vendor != S3Versity {
		if key, err := url.QueryUnescape(r.Key); err == nil {
			r.Key = key
		}
	} else if n, err := strconv.ParseUint(r.Sequencer, 16, 32); err == nil {
		// Its sequencers count from 1 each time that it starts; the time in front keeps later ones greater.
		r.Sequencer = S3Sequencer(r.Time.Truncate(time.Second).Add(time.Duration(n)))
	}
	// An ARN of another partition is kept. Some stores put the key into it.
	if a := bucket.ARN; strings.HasPrefix(a, "arn:") && strings.HasSuffix(a, ":s3:::"+r.Bucket) {
		r.BucketARN = a
	}
	if r.VersionID == "null" && strings.HasPrefix(r.Name, "ObjectCreated:") {
		r.VersionID = "" // as on AWS once versioning is suspended
	}
	for _, block := range []struct {
		name string
		data json.RawMessage
	}{
		{"glacierEventData", p.Glacier}, {"lifecycleEventData", p.Lifecycle},
		{"replicationEventData", p.Replication}, {"intelligentTieringEventData", p.Tiering},
	} {
		if err := appendExtra(&r.Extra, block.name, block.data); err != nil {
			return r, err
		}
	}
	return r, nil
}

// vendor tells the store by what only it does.
func (p *s3PostRecord) vendor() S3Vendor {
	switch {
	case strings.HasPrefix(p.EventSource, "minio:"):
		return S3MinIO
	case strings.Contains(p.S3.Bucket.ARN, "/"): // versitygw names the object there
		return S3Versity
	default:
		return S3AWS
	}
}

// awsEventName is AWS's name of an event: without "s3:", and where a store has a name of its own for
// something that AWS has too, AWS's.
func awsEventName(name string) string {
	name = strings.TrimPrefix(name, "s3:")
	switch name {
	case "ObjectCreated:PutTagging":
		return "ObjectTagging:Put"
	case "ObjectCreated:DeleteTagging":
		return "ObjectTagging:Delete"
	case "ObjectRemoved:DeleteObjects":
		return "ObjectRemoved:Delete"
	case "ObjectTransition:Complete":
		return "LifecycleTransition"
	default:
		return name
	}
}

// appendExtra adds one block to dst, unless nothing is in it: versitygw sends an empty one with every event.
func appendExtra(dst *[]byte, name string, data json.RawMessage) error {
	if len(data) == 0 || string(data) == "null" {
		return nil
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, ok := v.(map[string]any); !ok {
		return fmt.Errorf("%s is not an object", name)
	}
	if blank(v) {
		return nil
	}
	var text bytes.Buffer
	if err := json.Compact(&text, data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(*dst) > 0 {
		*dst = append(*dst, ',')
	}
	*dst = AppendString(*dst, name)
	*dst = append(*dst, ':')
	*dst = append(*dst, text.Bytes()...)
	return nil
}

// blank reports whether v holds nothing but empty strings and nulls, at any depth.
func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		for _, e := range v {
			if !blank(e) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// jsonError says where in data the reader stopped and what it wanted.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return errors.New("the body is empty")
	case errors.As(err, &syntax):
		return fmt.Errorf("the body is not JSON: byte %d: %w", syntax.Offset, err)
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			return fmt.Errorf("the body is a JSON %s, not an object", kind.Value)
		}
		return fmt.Errorf("%s is a JSON %s, want %s", field, kind.Value, kind.Type)
	default:
		return err
	}
}
