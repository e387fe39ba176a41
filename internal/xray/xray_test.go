package xray_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/xray"
)

func TestHeaderKeepsTheTraceOfTheCallerOrBeginsOne(t *testing.T) {
	t.Parallel()
	const fresh = `^Root=1-5759e988-[0-9a-f]{24}$`
	for parent, want := range map[string]string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": `^Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=1$`,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00": `^Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00f067aa0ba902b7;Sampled=0$`,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0b": `;Sampled=1$`,
		"": fresh,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01":  fresh,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01":  fresh,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01":  fresh,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x": fresh,
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01":  fresh,
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01":  fresh,
	} {
		if got := xray.Header(parent, time.Unix(0x5759e988, 0)); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("Header(%q) = %s, want %s", parent, got, want)
		}
	}
	one, another := xray.Header("", time.Unix(0x5759e988, 0)), xray.Header("", time.Unix(0x5759e988, 0))
	if one == another {
		t.Errorf("two traces have one id, %s", one)
	}
}
