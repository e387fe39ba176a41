package plugin

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// FieldError is one bad value of a configuration. A Validate method returns it, alone or several joined by
// errors.Join, so that the reader of the file can be shown the line.
type FieldError struct {
	Path string // as in the file, from the section's top: "routes[2]", "cors.maxAge"; "" is the section
	Msg  string // what is wrong and how to mend it, without the path
}

func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// Invalid makes a FieldError.
func Invalid(path, format string, args ...any) error {
	return &FieldError{Path: path, Msg: fmt.Sprintf(format, args...)}
}

// Register registers c, or returns the collector that another component registered under the same
// description before: components of one kind share their vectors.
func Register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	err := r.Register(c)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		if have, ok := twice.ExistingCollector.(C); ok {
			return have
		}
	}
	if err != nil {
		panic(err) // two collectors of one name and other labels: a fault of the program
	}
	return c
}
