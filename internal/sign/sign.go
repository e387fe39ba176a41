// Package sign signs the messages that the hub posts to other people's servers, so that those can tell who
// sent them. The form is that of Standard Webhooks (https://www.standardwebhooks.com), for which receivers
// have ready libraries in most languages.
package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/plugin"
)

// The headers of a signed message.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// prefix marks a secret whose key is written in base64.
const prefix = "whsec_"

// Config is the signature of requests by the Standard Webhooks specification.
type Config struct {
	// Secrets sign every request, in the headers webhook-id (the id of the invocation), webhook-timestamp (Unix
	// seconds) and webhook-signature; none means no signature. Each is "whsec_" and the base64 of a key, or a
	// text of at least 16 bytes. Give the new and the old one while receivers change over.
	Secrets []plugin.Secret `yaml:"secrets"`
}

// Validate reports secrets that are none; path is that of the section.
func (c *Config) Validate(path string) error {
	var errs []error
	for i, s := range c.Secrets {
		at := fmt.Sprintf("%s.secrets[%d]", path, i)
		switch key, err := key(s); {
		case err != nil:
			errs = append(errs, plugin.Invalid(at, `what follows "whsec_" is not base64`))
		case len(key) < 16:
			errs = append(errs, plugin.Invalid(at, "a signing secret has at least 16 bytes; make one with: openssl rand -base64 32"))
		}
	}
	return errors.Join(errs...)
}

// Headers sets the three headers of a message on h. id is the same in every try to deliver the message, so
// that the receiver can drop repeats; t is the time of this try. There is one signature for each secret:
// while a secret is being replaced the receiver may hold the old one or the new. The key is the decoded base64
// after "whsec_", or the text of the secret where it does not have that form.
func Headers(h http.Header, secrets []plugin.Secret, id string, t time.Time, body []byte) {
	stamp := strconv.FormatInt(t.Unix(), 10)
	var signatures []byte
	for i, s := range secrets {
		key, err := key(s)
		if err != nil {
			key = []byte(s)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		if i > 0 {
			signatures = append(signatures, ' ')
		}
		signatures = append(signatures, "v1,"...)
		signatures = base64.StdEncoding.AppendEncode(signatures, mac.Sum(nil))
	}
	h[HeaderID] = []string{id}
	h[HeaderTimestamp] = []string{stamp}
	h[HeaderSignature] = []string{string(signatures)}
}

func key(s plugin.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(string(s), prefix)
	if !ok {
		return []byte(text), nil
	}
	return base64.StdEncoding.DecodeString(text)
}
