package app

import (
	"context"
	"fmt"
	"sync"

	"github.com/millrace/millrace/destinations"
)

// targets are the destinations of the file, by name.
type targets struct {
	mu     sync.RWMutex
	byName map[string]destinations.Destination
}

// send delivers rec to the destination of that name. A name that is not in the file will not be there on the
// next try either, unless somebody puts it back: that is an ordinary error, so that the record waits.
func (ts *targets) send(ctx context.Context, name string, rec destinations.Record) error {
	ts.mu.RLock()
	d := ts.byName[name]
	ts.mu.RUnlock()
	if d == nil {
		return fmt.Errorf("sending to %s: no such destination in the file", name)
	}
	return d.Send(ctx, rec)
}

// set puts d, which may be nil, in the place of name, and returns what was there.
func (ts *targets) set(name string, d destinations.Destination) (old destinations.Destination) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	old = ts.byName[name]
	if d == nil {
		delete(ts.byName, name)
	} else {
		ts.byName[name] = d
	}
	return old
}
