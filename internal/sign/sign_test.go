package sign_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/internal/sign"
)

// The example of the Standard Webhooks specification and its reference libraries.
const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	id     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	body   = `{"test": 2432232314}`
	want   = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestHeadersSignsAsTheSpecificationDoes(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	sign.Headers(h, []plugin.Secret{secret}, id, time.Unix(1614265330, 999), []byte(body))
	if got := h.Get("webhook-signature"); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if h.Get("webhook-id") != id || h.Get("webhook-timestamp") != "1614265330" {
		t.Errorf("headers %v", h)
	}
}

func TestHeadersSignsOnceForEachSecret(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	sign.Headers(h, []plugin.Secret{"a plain text secret", secret}, id, time.Unix(1614265330, 0), []byte(body))
	got := strings.Fields(h.Get("webhook-signature"))
	if len(got) != 2 || got[0] == want || got[1] != want {
		t.Errorf("signatures %q", got)
	}
}

func TestValidateTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, problem := range map[plugin.Secret]string{
		secret:                "",
		"sixteen bytes ok":    "",
		"":                    "at least 16",
		"short":               "at least 16",
		"whsec_c2hvcnQ=":      "at least 16",
		"whsec_not base64!!!": "base64",
	} {
		err := (&sign.Config{Secrets: []plugin.Secret{secret, text}}).Validate("signing")
		if (err == nil) != (problem == "") || err != nil && (!strings.Contains(err.Error(), problem) || !strings.HasPrefix(err.Error(), "signing.secrets[1]: ")) {
			t.Errorf("%q: %v, want %q", string(text), err, problem)
		}
	}
}
