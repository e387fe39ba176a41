package wire

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestCheckWordsViolationsAsAWSDoes(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)
	for _, c := range []struct {
		check func(*Check)
		want  string
	}{
		{func(c *Check) {
			c.Required("streamName", true)
			c.Length("streamName", "é", 1, 1)
			c.Range("limit", 1, 1, 1)
		}, ""},
		{func(c *Check) { c.Required("streamName", false) },
			"1 validation error detected: Value null at 'streamName' failed to satisfy constraint: Member must not be null"},
		{func(c *Check) {
			c.Length("streamName", "", 1, 128)
			c.Length("b", "xyz", 0, 2)
			c.Length("c", "xyz", 0, 0)
		},
			"2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: Member must have length greater than or equal to 1; " +
				"Value 'xyz' at 'b' failed to satisfy constraint: Member must have length less than or equal to 2"},
		{func(c *Check) { c.Range("limit", 0, 1, 10); c.Range("limit", 11, 1, 10) },
			"2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1; " +
				"Value '11' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10"},
		{func(c *Check) { c.Pattern("name", "a b", name, ""); c.Pattern("name", "a", name, "") },
			"1 validation error detected: Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"},
		{func(c *Check) { c.Enum("type", "X", "A", "B"); c.Enum("type", "A", "A", "B") },
			"1 validation error detected: Value 'X' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [A, B]"},
		{func(c *Check) { c.Count("records", "[]", 0, 1, 500) },
			"1 validation error detected: Value '[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1"},
	} {
		var check Check
		c.check(&check)
		err := check.Err()
		if c.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != "ValidationException" || e.Message != c.want {
			t.Errorf("%v\nwant %s", err, c.want)
		}
	}
}

func TestErrorfMakesA400(t *testing.T) {
	t.Parallel()
	if e := Errorf("Code", "so %d", 1); e.status() != 400 || !strings.Contains(e.Error(), "Code: so 1") {
		t.Errorf("%d %v", e.status(), e)
	}
}
