package sqs

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/stack/wire"
)

// Limits of a message. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const (
	maxMessageSize = 1 << 20 // bytes of body and attributes, and of all messages of a batch together
	maxAttributes  = 10
	maxNameLength  = 256
	maxBatch       = 10
)

// attribute is a message attribute, named.
type attribute struct {
	name, dataType string
	value          string // of a Binary attribute, the bytes
}

func (a *attribute) binary() bool { return strings.HasPrefix(a.dataType, "Binary") }

// state is where in its life a message is.
type state uint8

const (
	gone     state = iota // not in a queue
	ready                 // can be received, in a FIFO queue once those before it are done
	delayed               // cannot be received yet
	inFlight              // received, and neither deleted nor visible again
)

// message is a message in a queue. What comes first does not change while the message is in a queue, and may be read
// without the queue's lock; the rest is guarded by it. A message that moves to another queue moves as a copy.
type message struct {
	id, body, md5 string
	attributes    []attribute // by name
	attributesMD5 string
	trace         string // AWSTraceHeader
	group, dedup  string
	grouped       bool // a group was given
	sender        string
	source        string // ARN of the queue that it was moved from as a dead letter
	sent          int64  // nanoseconds since 1970; what retention counts from
	order         uint64 // place in the queue; sequence number of a FIFO queue

	state    state
	due      int64 // when it becomes visible, if delayed or in flight
	index    int   // in queue.timed
	lane     *lane // whose list it is in
	prev     *message
	next     *message
	older    *message // in queue.ages
	newer    *message
	aged     bool   // it is in queue.ages; else in queue.old, at oldIndex
	oldIndex int    //
	received int    // times that this queue has handed it out
	total    int    // times that any queue has
	first    int64  // when it was first received
	last     int64  // when it was last received
	handle   uint32 // number of the newest receipt handle
	stray    uint32 // number of a handle that came with a duplicate delivery
}

// messageSize is what counts towards the limits of a message and of a batch, in bytes.
func messageSize(body string, attributes []attribute) int {
	n := len(body)
	for i := range attributes {
		a := &attributes[i]
		n += len(a.name) + len(a.dataType) + len(a.value)
	}
	return n
}

// newID makes a UUID of version 4. Ids need to be unique, not secret.
func newID() string {
	var u [16]byte
	binary.LittleEndian.PutUint64(u[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(u[8:], rand.Uint64())
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// attributesDigest is the MD5 that clients compare with their own, "" without attributes. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html#sqs-attributes-md5-message-digest-calculation.
func attributesDigest(list []attribute) string {
	if len(list) == 0 {
		return ""
	}
	var b []byte
	for i := range list {
		a := &list[i]
		b = binary.BigEndian.AppendUint32(b, uint32(len(a.name)))
		b = append(b, a.name...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(a.dataType)))
		b = append(b, a.dataType...)
		if a.binary() {
			b = append(b, 2)
		} else {
			b = append(b, 1)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(a.value)))
		b = append(b, a.value...)
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// badCharacter returns the first character that no text of a message may contain, and whether there is one.
func badCharacter(s string) (rune, bool) {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
				return rune(c), true
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == 0xFFFE || r == 0xFFFF || r == utf8.RuneError && n == 1 {
			return r, true
		}
		i += n
	}
	return 0, false
}

const allowedCharacters = "#x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]"

func checkText(where, s string) error {
	r, bad := badCharacter(s)
	if !bad {
		return nil
	}
	return wire.Errorf("InvalidMessageContents", "Invalid binary character '#x%X' was found in the %s, the set of allowed characters is %s.",
		r, where, allowedCharacters)
}

// checkFifoID checks an id of a group, of deduplication, or of a receive attempt.
func checkFifoID(parameter, v string) error {
	ok := len(v) >= 1 && len(v) <= 128
	for i := 0; ok && i < len(v); i++ {
		ok = v[i] > ' ' && v[i] <= '~'
	}
	if ok {
		return nil
	}
	return invalidValue(parameter, v, "%s can only include alphanumeric and punctuation characters. 1 to 128 in length.", parameter)
}

var (
	// AWS's recordings show that letters with diacritics are accepted, which its documentation does not say.
	attributeName = regexp.MustCompile(`^[\x{00c0}-\x{017f}a-zA-Z0-9_.-]*$`)
	number        = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)
)

// readAttributes checks attributes as they came in a request, and sorts them by name.
func readAttributes(in map[string]messageAttribute) ([]attribute, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) > maxAttributes {
		return nil, invalidParameter("Number of message attributes [%d] exceeds the allowed maximum [%d].", len(in), maxAttributes)
	}
	list := make([]attribute, 0, len(in))
	for name, v := range in {
		list = append(list, attribute{name: name, dataType: v.DataType})
	}
	slices.SortFunc(list, func(a, b attribute) int { return strings.Compare(a.name, b.name) })
	for i := range list {
		a := &list[i]
		v := in[a.name]
		if err := checkAttributeName(a.name); err != nil {
			return nil, err
		}
		value, err := readValue("Message (user) attribute", a.name, &v)
		if err != nil {
			return nil, err
		}
		a.value = value
	}
	return list, nil
}

func checkAttributeName(name string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return invalidParameter("Message (user) attribute names cannot be empty.")
	case len(name) > maxNameLength:
		return invalidParameter("Message (user) attribute names must be shorter than %d Bytes", maxNameLength)
	case !attributeName.MatchString(name):
		return invalidParameter("Message (user) attributes name can only contain upper and lower score characters, digits, periods, " +
			"hyphens and underscores. ")
	case strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") || name[0] == '.' || name[len(name)-1] == '.':
		return invalidParameter("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. " +
			"These strings are reserved for internal use. Additionally, they cannot start or end with '.'.")
	case strings.Contains(name, ".."):
		return invalidParameter("Message (user) attribute name '%s' must not contain successive periods.", name)
	}
	return nil
}

// readValue checks the type and value of an attribute, which what and name describe.
func readValue(what, name string, v *messageAttribute) (string, error) {
	base, _, _ := strings.Cut(v.DataType, ".")
	switch {
	case v.DataType == "":
		return "", invalidParameter("The %s '%s' must contain a non-empty attribute type.", strings.ToLower(what[:1])+what[1:], name)
	case base != "String" && base != "Number" && base != "Binary":
		return "", invalidParameter("The type of %s '%s' is invalid. You must use only the following supported type prefixes: "+
			"Binary, Number, String.", strings.ToLower(what[:1])+what[1:], name)
	case len(v.DataType) > maxNameLength:
		return "", invalidParameter("%s types must be shorter than %d Bytes", what, maxNameLength)
	case len(v.StringListValues) > 0 || len(v.BinaryListValues) > 0:
		return "", unsupported("Message attribute list values in SendMessage operation are not supported.")
	}
	if base == "Binary" {
		if len(v.BinaryValue) == 0 || v.StringValue != nil {
			return "", invalidParameter("%s '%s' must contain a non-empty value of type 'Binary'.", what, name)
		}
		return string(v.BinaryValue), nil
	}
	if v.StringValue == nil || *v.StringValue == "" || v.BinaryValue != nil {
		return "", invalidParameter("%s '%s' must contain a non-empty value of type 'String'.", what, name)
	}
	s := *v.StringValue
	if r, bad := badCharacter(s); bad {
		return "", invalidParameter("Invalid binary character '#x%X' was found in the %s '%s' value, the set of allowed characters is %s.",
			r, strings.ToLower(what[:1])+what[1:], name, allowedCharacters)
	}
	if base == "Number" && !isNumber(s) {
		return "", invalidParameter("Can't cast the value of %s '%s' to a number.", strings.ToLower(what[:1])+what[1:], name)
	}
	return s, nil
}

// isNumber reports whether a text is a number that a Number attribute can hold: from -10^128 to 10^126, of any
// precision, since what goes beyond 38 digits is not refused.
func isNumber(s string) bool {
	if !number.MatchString(s) {
		return false
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f >= -1e128 && f <= 1e126
}

// traceHeader is the one system attribute that a message can be sent with.
const traceHeader = "AWSTraceHeader"

func readSystemAttributes(in map[string]messageAttribute) ([]attribute, error) {
	for name, v := range in {
		if name != traceHeader {
			return nil, invalidParameter("Message system attribute name '%s' is invalid.", name)
		}
		value, err := readValue("Message (system) attribute", name, &v)
		if err != nil {
			return nil, err
		}
		if v.DataType != "String" {
			return nil, invalidParameter("Message (system) attribute '%s' must be of type 'String'.", name)
		}
		return []attribute{{name: name, dataType: v.DataType, value: value}}, nil
	}
	return nil, nil
}

// sequenceNumber is the text of a place in a FIFO queue: 20 digits, as AWS's, which are beyond 64 bits.
func sequenceNumber(order uint64) string { return fmt.Sprintf("188%017d", order*256) }
