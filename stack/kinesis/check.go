package kinesis

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/millrace/millrace/stack/wire"
)

// The patterns of the service's model (https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Types.html).
const (
	namePattern        = `[a-zA-Z0-9_.-]+`
	streamARNPattern   = `arn:aws.*:kinesis:.*:\d{12}:stream/\S+`
	resourceARNPattern = `arn:aws.*:kinesis:.*:\d{12}:.*stream/\S+`
	consumerARNPattern = `^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+`
	hashKeyPattern     = `0|([1-9]\d{0,38})`
	sequencePattern    = `0|([1-9]\d{0,128})`
	streamIDPattern    = `[a-z0-9]{20}-[a-z0-9]{3}`
)

var (
	name        = regexp.MustCompile(`^` + namePattern + `$`)
	streamARN   = regexp.MustCompile(`^arn:aws[^:]*:kinesis:[^:]*:\d{12}:stream/[^\s/:]+$`)
	resourceARN = regexp.MustCompile(`^arn:aws[^:]*:kinesis:[^:]*:\d{12}:stream/\S+$`)
	consumerARN = regexp.MustCompile(`^arn:aws[^:]*:kinesis:[^:]*:\d{12}:stream/[a-zA-Z0-9_.-]+/consumer/[a-zA-Z0-9_.-]+:[0-9]+$`)
	hashKeyText = regexp.MustCompile(`^(` + hashKeyPattern + `)$`)
	sequences   = regexp.MustCompile(`^(` + sequencePattern + `)$`)
	streamID    = regexp.MustCompile(`^` + streamIDPattern + `$`)
)

// isName is what the pattern of names says, without the cost of an expression.
func isName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '_', b == '.', b == '-':
		default:
			return false
		}
	}
	return true
}

// checkName demands a name of a stream, shard or consumer, if it is there.
func checkName(c *wire.Check, member string, v *string) {
	if v == nil || isName(*v) {
		return
	}
	c.Length(member, *v, 1, 128)
	c.Pattern(member, *v, name, namePattern)
}

func checkARN(c *wire.Check, member string, v *string, re *regexp.Regexp, shown string) {
	if v == nil {
		return
	}
	c.Length(member, *v, 1, 2048)
	c.Pattern(member, *v, re, shown)
}

// checkRange demands a number that is not below low, nor above high if that is not 0.
func checkRange(c *wire.Check, member string, v *int64, low, high int64) {
	if v == nil {
		return
	}
	if high == 0 {
		high = 1<<31 - 1
	}
	c.Range(member, *v, low, high)
}

// checkStreamID refuses what AWS's model has for later use.
func checkStreamID(c *wire.Check, v *string) error {
	if v != nil {
		c.Pattern("streamId", *v, streamID, streamIDPattern)
	}
	if err := c.Err(); err != nil {
		return err
	}
	if v != nil {
		return wire.Errorf("InvalidArgumentException", "StreamId is reserved for future use. Name the stream by StreamName or StreamARN.")
	}
	return nil
}

func checkTags(c *wire.Check, tags map[string]string, most int) {
	if tags == nil {
		return
	}
	if len(tags) == 0 || len(tags) > most {
		c.Count("tags", shownTags(tags), len(tags), 1, most)
	}
	for _, k := range sortedKeys(tags) {
		c.Length("tags.key", k, 1, 128)
		c.Length("tags."+k+".member", tags[k], 0, 256)
	}
}

func shownTags(tags map[string]string) string {
	var b strings.Builder
	for i, k := range sortedKeys(tags) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(k + "=" + tags[k])
	}
	return "{" + b.String() + "}"
}

func checkTagKeys(c *wire.Check, keys []string) {
	c.Required("tagKeys", keys != nil)
	if keys == nil {
		return
	}
	if len(keys) == 0 || len(keys) > 50 {
		c.Count("tagKeys", "["+strings.Join(keys, ", ")+"]", len(keys), 1, 50)
	}
	for i, k := range keys {
		c.Length("tagKeys."+strconv.Itoa(i+1)+".member", k, 1, 128)
	}
}

// checkTagText demands the characters that tags may have.
func checkTagText(tags map[string]string) error {
	for k, v := range tags {
		for _, r := range k + v {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsSpace(r) && !strings.ContainsRune("_.:/=+-@", r) {
				return wire.Errorf("InvalidArgumentException", "Some tags contain invalid characters. Valid characters: "+
					"Unicode letters, digits, white space, _ . : / = + - @.")
			}
		}
	}
	return nil
}

func tooManyTags(k streamKey) error {
	return wire.Errorf("InvalidArgumentException", "Failed to add tags to stream %s under account %s "+
		"because a given stream cannot have more than %d tags associated with it.", k.name, k.account, largestTags)
}

// blob shows bytes as the service's messages do.
func blob(n int) string { return fmt.Sprintf("java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", n, n) }

// checkRecord demands what a record must be, as far as that does not depend on its stream, which may do without a key.
func checkRecord(c *wire.Check, prefix string, data *[]byte, key, hash *string) {
	if data == nil || len(*data) > largestMaxKiB<<10 {
		if c.Required(prefix+"data", data != nil); data != nil {
			c.Count(prefix+"data", blob(len(*data)), len(*data), 0, largestMaxKiB<<10)
		}
	}
	if key != nil && (*key == "" || len(*key) > 256) {
		c.Length(prefix+"partitionKey", *key, 1, 256)
	}
	if hash != nil && !isNumber(*hash, 39) {
		c.Pattern(prefix+"explicitHashKey", *hash, hashKeyText, hashKeyPattern)
	}
}

func checkSequence(c *wire.Check, member string, v *string) {
	if v != nil && !isNumber(*v, 129) {
		c.Pattern(member, *v, sequences, sequencePattern)
	}
}
