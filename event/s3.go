package event

import (
	"fmt"
	"strings"
	"time"
)

// S3Record is one element of an S3 event notification
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html). Which fields
// of the object a function sees depends on Name, as on AWS: a removal has no size, tagging no sequencer.
type S3Record struct {
	Name            string // without "s3:", e.g. "ObjectCreated:Put"
	Region          string // e.g. "us-east-1"
	Time            time.Time
	PrincipalID     string // who caused the event
	SourceIP        string
	RequestID       string // x-amz-request-id of the request that caused the event
	HostID          string // x-amz-id-2 of it
	ConfigurationID string // ID of the notification configuration
	Bucket          string // name
	BucketARN       string // "" means arn:aws:s3:::Bucket
	BucketOwner     string // principal ID
	Key             string // as in the bucket; the document holds it URL-encoded
	Size            int64  // bytes
	ETag            string // without quotes
	VersionID       string // "" in a bucket without versions
	Sequencer       string // hex digits that order the events of one key; "" means S3Sequencer(Time)

	// Extra is the JSON text of the members that follow "s3", without braces and outer commas, such as
	// `"glacierEventData":{…}`; it may be empty.
	Extra []byte
}

// AppendS3 appends the document of records, which S3 sends one at a time: {"Records":[…]}.
func AppendS3(dst []byte, records []S3Record) []byte {
	dst = append(dst, `{"Records":[`...)
	for i := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendS3Record(dst, &records[i])
	}
	return append(dst, ']', '}')
}

func appendS3Record(dst []byte, r *S3Record) []byte {
	shape := shapeOf(r.Name)
	dst = append(dst, `{"eventVersion":"`...)
	dst = append(dst, shape.version...)
	dst = append(dst, `","eventSource":"aws:s3","awsRegion":`...)
	dst = AppendString(dst, r.Region)
	dst = append(dst, `,"eventTime":`...)
	dst = AppendTime(dst, r.Time)
	dst = append(dst, `,"eventName":`...)
	dst = AppendString(dst, r.Name)
	dst = append(dst, `,"userIdentity":{"principalId":`...)
	dst = AppendString(dst, r.PrincipalID)
	dst = append(dst, `},"requestParameters":{"sourceIPAddress":`...)
	dst = AppendString(dst, r.SourceIP)
	dst = append(dst, `},"responseElements":{"x-amz-request-id":`...)
	dst = AppendString(dst, r.RequestID)
	dst = append(dst, `,"x-amz-id-2":`...)
	dst = AppendString(dst, r.HostID)
	dst = append(dst, `},"s3":{"s3SchemaVersion":"1.0","configurationId":`...)
	dst = AppendString(dst, r.ConfigurationID)
	dst = append(dst, `,"bucket":{"name":`...)
	dst = AppendString(dst, r.Bucket)
	dst = append(dst, `,"ownerIdentity":{"principalId":`...)
	dst = AppendString(dst, r.BucketOwner)
	dst = append(dst, `},"arn":`...)
	if r.BucketARN != "" {
		dst = AppendString(dst, r.BucketARN)
	} else {
		dst = append(dst, `"arn:aws:s3:::`...)
		name := len(dst)
		dst = AppendString(dst, r.Bucket)
		dst = append(dst[:name], dst[name+1:]...) // one string, so the second opening quote goes
	}
	dst = append(dst, `},"object":{"key":"`...)
	dst = appendS3Key(dst, r.Key)
	dst = append(dst, '"')
	if shape.size || shape.unknown && r.Size > 0 {
		dst = append(dst, `,"size":`...)
		dst = AppendInt(dst, r.Size)
	}
	switch {
	case shape.marker:
		dst = append(dst, `,"eTag":"`+emptyETag+`"`...)
	case shape.etag && r.ETag != "":
		dst = append(dst, `,"eTag":`...)
		dst = AppendString(dst, r.ETag)
	}
	if r.VersionID != "" {
		dst = append(dst, `,"versionId":`...)
		dst = AppendString(dst, r.VersionID)
	}
	if shape.sequencer {
		dst = append(dst, `,"sequencer":`...)
		if r.Sequencer != "" {
			dst = AppendString(dst, r.Sequencer)
		} else {
			dst = append(dst, '"')
			dst = appendSequencer(dst, r.Time)
			dst = append(dst, '"')
		}
	}
	dst = append(dst, `}}`...)
	if len(r.Extra) > 0 {
		dst = append(dst, ',')
		dst = append(dst, r.Extra...)
	}
	return append(dst, '}')
}

// emptyETag is what a delete marker has: the MD5 of nothing.
const emptyETag = "d41d8cd98f00b204e9800998ecf8427e"

// s3Shape says how the record of one kind of event looks.
type s3Shape struct {
	version               string
	size, etag, sequencer bool
	marker                bool // a delete marker, whose eTag is that of nothing
	unknown               bool // no event of AWS's: show what there is
}

// shapeOf follows recordings of S3 where there are any, and its documentation for lifecycle, replication and
// tiering events.
func shapeOf(name string) s3Shape {
	class, action, _ := strings.Cut(name, ":")
	switch class {
	case "ObjectCreated", "ObjectRestore", "ReducedRedundancyLostObject":
		return s3Shape{version: "2.1", size: true, etag: true, sequencer: true}
	case "ObjectRemoved":
		return s3Shape{version: "2.1", sequencer: true, marker: action == "DeleteMarkerCreated"}
	case "ObjectTagging", "ObjectAcl":
		return s3Shape{version: "2.3", etag: true}
	case "Replication":
		return s3Shape{version: "2.2", size: true, etag: true, sequencer: true}
	case "LifecycleExpiration":
		return s3Shape{version: "2.3", sequencer: true, marker: action == "DeleteMarkerCreated"}
	case "LifecycleTransition", "IntelligentTiering":
		return s3Shape{version: "2.3", size: true, etag: true, sequencer: true}
	default:
		return s3Shape{version: "2.1", etag: true, sequencer: true, unknown: true}
	}
}

// S3Sequencer makes a sequencer from a time, in the form of S3's: later times compare greater as text.
func S3Sequencer(t time.Time) string { return string(appendSequencer(nil, t)) }

func appendSequencer(dst []byte, t time.Time) []byte {
	const digits = "0123456789ABCDEF"
	seconds, nanos := uint64(t.Unix()), uint64(t.Nanosecond()) //nolint:gosec // only the bits matter
	for shift := 36; shift >= 0; shift -= 4 {
		dst = append(dst, digits[seconds>>shift&15])
	}
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[nanos>>shift&15])
	}
	return dst
}

// appendS3Key appends key as S3 encodes it: a space is "+", a slash and the bytes of plainKey stay, and any
// other byte is %XX. The result needs no escaping in JSON.
func appendS3Key(dst []byte, key string) []byte {
	const digits = "0123456789ABCDEF"
	start := 0
	for i := 0; i < len(key); i++ {
		c := key[i]
		if plainKey[c] {
			continue
		}
		dst = append(dst, key[start:i]...)
		start = i + 1
		if c == ' ' {
			dst = append(dst, '+')
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return append(dst, key[start:]...)
}

// plainKey marks the bytes of a key that stay as they are.
var plainKey = func() (plain [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.*/") {
		plain[c] = true
	}
	return plain
}()

// S3EventPattern is a name of an event as a bucket's notification configuration has it: "s3:ObjectCreated:Put",
// or with a final star "s3:ObjectRemoved:*".
type S3EventPattern string

// s3Events are the classes of events and their actions. The classes after the blank line are not AWS's but
// MinIO's.
var s3Events = map[string][]string{
	"ObjectCreated":               {"Put", "Post", "Copy", "CompleteMultipartUpload", "PutRetention", "PutLegalHold"},
	"ObjectRemoved":               {"Delete", "DeleteMarkerCreated", "DeleteAllVersions", "NoOP"},
	"ObjectRestore":               {"Post", "Completed", "Delete"},
	"ObjectTagging":               {"Put", "Delete"},
	"ObjectAcl":                   {"Put"},
	"Replication":                 {"OperationFailedReplication", "OperationMissedThreshold", "OperationReplicatedAfterThreshold", "OperationNotTracked", "OperationCompletedReplication"},
	"LifecycleExpiration":         {"Delete", "DeleteMarkerCreated"},
	"LifecycleTransition":         nil,
	"IntelligentTiering":          nil,
	"ReducedRedundancyLostObject": nil,

	"ObjectAccessed":               {"Get", "GetRetention", "GetLegalHold", "Head", "Attributes"},
	"ObjectTransition":             {"Failed", "Complete"},
	"LifecycleDelMarkerExpiration": {"Delete"},
	"Scanner":                      {"ManyVersions", "LargeVersions", "BigPrefix"},
	"BucketCreated":                nil,
	"BucketRemoved":                nil,
}

// Validate reports a pattern that no event can match.
func (p S3EventPattern) Validate() error {
	name, ok := strings.CutPrefix(string(p), "s3:")
	class, action, dotted := strings.Cut(name, ":")
	actions, known := s3Events[class]
	if !ok || !known {
		return fmt.Errorf("%q is not an event of S3; write one such as s3:ObjectCreated:* or s3:ObjectRemoved:Delete", string(p))
	}
	if !dotted && actions == nil || action == "*" {
		return nil
	}
	for _, a := range actions {
		if a == action {
			return nil
		}
	}
	if actions == nil {
		return fmt.Errorf("%q is not an event of S3; write s3:%s", string(p), class)
	}
	return fmt.Errorf("%q is not an event of S3; write s3:%s:* or one of %s", string(p), class, strings.Join(actions, ", "))
}

// Match reports whether p covers an event, whose name has no "s3:".
func (p S3EventPattern) Match(name string) bool {
	pattern := strings.TrimPrefix(string(p), "s3:")
	if class, ok := strings.CutSuffix(pattern, ":*"); ok {
		have, _, _ := strings.Cut(name, ":")
		return have == class
	}
	return pattern == name
}
