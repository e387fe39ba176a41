package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// SignChunks encodes chunks and signs them.
func SignChunks(secret, region, service string, at time.Time, seed string, chunks []string, trailer string) string {
	s := signature{day: at.Format("20060102"), region: region, service: service, date: at}
	key := signingKey(secret, s)
	scope := at.Format(basicTime) + "\n" + s.day + "/" + region + "/" + service + "/aws4_request\n"
	sum := func(text string) string {
		h := sha256.Sum256([]byte(text))
		return hex.EncodeToString(h[:])
	}
	var b strings.Builder
	for _, c := range append(chunks, "") {
		seed = hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256-PAYLOAD\n"+scope+seed+"\n"+sum("")+"\n"+sum(c)))
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n", len(c), seed)
		if c != "" {
			b.WriteString(c + "\r\n")
		}
	}
	if trailer != "" {
		seed = hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256-TRAILER\n"+scope+seed+"\n"+sum(trailer+"\n")))
		b.WriteString(trailer + "\r\nx-amz-trailer-signature:" + seed + "\r\n")
	}
	return b.String() + "\r\n"
}
