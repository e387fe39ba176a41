package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What README.md shows under Start happens: the commands and what they print are taken from there.
func TestTheQuickStartDoesWhatTheREADMEShows(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	shown := func(pattern string) []string {
		m := regexp.MustCompile(`(?m)` + pattern).FindStringSubmatch(read("README.md"))
		if m == nil {
			t.Fatalf("README.md shows nothing like %s", pattern)
		}
		return m[1:]
	}

	// The file as it is, but run in a folder of its own: the handler is built where it is.
	configs, err := filepath.Abs("../../configs")
	if err != nil {
		t.Fatal(err)
	}
	yaml := strings.Replace(read("configs/quickstart.yaml"), "[go, build,", fmt.Sprintf("[go, build, -C, %q,", configs), 1)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "drop"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := startIn(t, dir, yaml)

	request := shown(`^\$ curl 'http://127\.0\.0\.1:8080(\S*)'\n(.*)$`)
	status, _, body := send(t, http.MethodGet, h.Gateway+request[0], "")
	if status != http.StatusOK || body != request[1]+"\n" {
		t.Errorf("GET %s: %d %q, README.md shows %q", request[0], status, body, request[1])
	}

	drop := shown(`^\$ echo (\S+) > configs/drop/(\S+) [^\n]*\n +# the hub's log: (.*)$`)
	if err := os.WriteFile(filepath.Join(dir, "drop", drop[1]), []byte(drop[0]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file to reach the function", func() string {
		if strings.Contains(h.Log(), drop[2]) {
			return ""
		}
		return h.Log()
	})

	invoke := shown(`^\$ go run \./cmd/millrace (invoke hello --event)`)
	out, err := millrace(t, h, strings.Fields(invoke[0])...)
	id, accepted := strings.CutPrefix(strings.TrimSpace(out), "accepted as ")
	if err != nil || !accepted {
		t.Fatalf("millrace %s: %v\n%s", invoke[0], err, out)
	}
	eventually(t, "the event to succeed", func() string {
		out, err := millrace(t, h, "why", id)
		if err != nil || !strings.Contains(out, "The function succeeded.") {
			return fmt.Sprint(err, out)
		}
		return ""
	})
}
