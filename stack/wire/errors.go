package wire

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Error is a refusal in a service's own terms.
type Error struct {
	Code    string // "QueueDoesNotExist"
	Message string
	// Status is the HTTP status; 0 is 400. From 500 on the fault is the service's.
	Status int
	// QueryCode is the code in the Query protocol where it differs ("AWS.SimpleQueueService.NonExistentQueue").
	QueryCode string
	// Members are more members of a JSON error, such as CancellationReasons; marshalled as outputs are.
	Members map[string]any
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func (e *Error) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// Errorf makes an Error with status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Check collects violations of an input's constraints, and words them as AWS's services do. Names are those of the
// members with a small first letter, "streamName", or paths, "records.1.member.data". Optional members that are absent are not checked.
type Check struct {
	list []string
}

func (c *Check) fail(name, value, must string) {
	c.list = append(c.list, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: Member must %s", value, name, must))
}

func quoted[T ~string](v T) string { return "'" + string(v) + "'" }

// Required demands that a member is there.
func (c *Check) Required(name string, present bool) {
	if !present {
		c.fail(name, "null", "not be null")
	}
}

// Length demands that a string has from low to high characters; a high of 0 is no limit.
func (c *Check) Length(name, v string, low, high int) {
	c.length(name, quoted(v), len([]rune(v)), low, high)
}

// Count demands that a list has from low to high elements; a high of 0 is no limit. The list is shown as given, "[a, b]".
func (c *Check) Count(name, shown string, n, low, high int) {
	c.length(name, quoted(shown), n, low, high)
}

func (c *Check) length(name, v string, n, low, high int) {
	switch {
	case n < low:
		c.fail(name, v, "have length greater than or equal to "+strconv.Itoa(low))
	case high > 0 && n > high:
		c.fail(name, v, "have length less than or equal to "+strconv.Itoa(high))
	}
}

// Range demands that a number is from low to high.
func (c *Check) Range(name string, v, low, high int64) {
	text := quoted(strconv.FormatInt(v, 10))
	switch {
	case v < low:
		c.fail(name, text, "have value greater than or equal to "+strconv.FormatInt(low, 10))
	case v > high:
		c.fail(name, text, "have value less than or equal to "+strconv.FormatInt(high, 10))
	}
}

// Pattern demands that the whole of a string matches. The expression is shown as written in shown, which is how AWS
// words it, or as re has it if shown is empty.
func (c *Check) Pattern(name, v string, re *regexp.Regexp, shown string) {
	if shown == "" {
		shown = strings.TrimSuffix(strings.TrimPrefix(re.String(), "^"), "$")
	}
	if !re.MatchString(v) {
		c.fail(name, quoted(v), "satisfy regular expression pattern: "+shown)
	}
}

// Enum demands one of a list of values.
func (c *Check) Enum(name, v string, allowed ...string) {
	if !slices.Contains(allowed, v) {
		c.fail(name, quoted(v), "satisfy enum value set: ["+strings.Join(allowed, ", ")+"]")
	}
}

// Err is nil if all is well, else one error that names all violations: "2 validation errors detected: …".
func (c *Check) Err() error {
	if len(c.list) == 0 {
		return nil
	}
	s := ""
	if len(c.list) > 1 {
		s = "s"
	}
	return Errorf("ValidationException", "%d validation error%s detected: %s", len(c.list), s, strings.Join(c.list, "; "))
}
