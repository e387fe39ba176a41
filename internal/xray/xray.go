// Package xray writes the trace header of AWS X-Ray, X-Amzn-Trace-Id, for requests that come without one
// (https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader).
package xray

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"time"
)

// Header is the header of the trace that a W3C traceparent names, or of a new one if it names none: then it
// has a root only.
func Header(traceparent string, now time.Time) string {
	if root, ok := fromW3C(traceparent); ok {
		return root
	}
	var id [16]byte
	binary.BigEndian.PutUint32(id[:], uint32(now.Unix()))
	binary.BigEndian.PutUint32(id[4:], rand.Uint32())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	b := append(make([]byte, 0, 42), "Root=1-"...)
	b = hex.AppendEncode(b, id[:4])
	b = append(b, '-')
	return string(hex.AppendEncode(b, id[4:]))
}

// fromW3C reads version(2)-trace(32)-span(16)-flags(2).
func fromW3C(p string) (header string, ok bool) {
	if len(p) != 55 || p[2] != '-' || p[35] != '-' || p[52] != '-' {
		return "", false
	}
	version, trace, span, flags := p[:2], p[3:35], p[36:52], p[53:]
	if !lowerHex(version) || !lowerHex(trace) || !lowerHex(span) || !lowerHex(flags) ||
		strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return "", false
	}
	sampled := "0"
	if strings.IndexByte("13579bdf", flags[1]) >= 0 {
		sampled = "1"
	}
	return "Root=1-" + trace[:8] + "-" + trace[8:] + ";Parent=" + span + ";Sampled=" + sampled, true
}

func lowerHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
