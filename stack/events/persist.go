package events

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// load reads what the store remembers. The keys are those of the key methods.
func (s *Service) load() error {
	for _, kind := range []struct {
		prefix string
		read   func(c *contents, name string, value []byte) error
	}{
		{"events/bus/", (*contents).loadBus},
		{"events/rule/", (*contents).loadRule},
		{"events/archive/", (*contents).loadArchive},
		{"events/archived/", (*contents).loadArchived},
		{"events/replay/", (*contents).loadReplay},
	} {
		err := s.env.Store.Load(kind.prefix, func(key string, value []byte) error {
			parts := strings.SplitN(strings.TrimPrefix(key, kind.prefix), "/", 3)
			if len(parts) < 3 {
				return fmt.Errorf("the key %q is not one of ours", key)
			}
			if err := kind.read(s.at(place{parts[0], parts[1]}), parts[2], value); err != nil {
				return fmt.Errorf("reading %s: %w", key, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *contents) loadBus(name string, value []byte) error {
	b := &bus{place: c.place, rules: map[string]*rule{}}
	if err := json.Unmarshal(value, b); err != nil {
		return err
	}
	c.buses[name] = b
	return b.compilePolicy()
}

func (c *contents) loadRule(_ string, value []byte) error {
	r := &rule{place: c.place}
	if err := json.Unmarshal(value, r); err != nil {
		return err
	}
	b := c.buses[r.Bus]
	if b == nil {
		return fmt.Errorf("its event bus %s is not there", r.Bus)
	}
	for i := range r.Targets {
		t, err := r.Targets[i].compile(c.place)
		if err != nil {
			return err
		}
		r.targets = append(r.targets, t)
	}
	b.rules[r.Name] = r
	return r.compile()
}

func (c *contents) loadArchive(name string, value []byte) error {
	a := &archive{place: c.place}
	if err := json.Unmarshal(value, a); err != nil {
		return err
	}
	c.archives[name] = a
	return a.compile()
}

func (c *contents) loadArchived(name string, value []byte) error {
	i := strings.LastIndex(name, "/")
	if i < 0 {
		return fmt.Errorf("it has no number")
	}
	a := c.archives[name[:i]]
	if a == nil {
		return fmt.Errorf("its archive is not there")
	}
	var x archived
	if err := json.Unmarshal(value, &x); err != nil {
		return err
	}
	var err error
	if x.Number, err = strconv.ParseUint(name[i+1:], 10, 64); err != nil {
		return fmt.Errorf("its number cannot be read: %w", err)
	}
	a.events = append(a.events, x)
	a.size += int64(len(x.Doc))
	a.next = x.Number + 1
	return nil
}

func (c *contents) loadReplay(name string, value []byte) error {
	x := &replay{place: c.place}
	if err := json.Unmarshal(value, x); err != nil {
		return err
	}
	c.replays[name] = x
	return nil
}

// resume goes on with what a restart has cut off: schedules, from now on, and replays, from their beginning. A clock
// that a test has put forward is back then.
func (s *Service) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.env.Clock.Now()
	for _, c := range s.places {
		for _, b := range c.buses {
			for _, r := range b.rules {
				if r.Since.After(now) {
					r.Since = now
				}
				s.arm(r, now)
			}
		}
		for _, x := range c.replays {
			if x.active() {
				s.env.Go(func(ctx context.Context) { s.replay(ctx, x) })
			}
		}
	}
}
