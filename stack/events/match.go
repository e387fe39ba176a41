package events

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/policy"
)

// matcher knows the rules and archives of a bus at one time, and which of them want an event. It does not change.
type matcher struct {
	set     *router.Set
	matched []subscriber // by the index of the pattern in the set
	all     []*archive   // without a pattern
}

// subscriber is whom a pattern is for: a rule or an archive.
type subscriber struct {
	rule    *view
	archive *archive
}

// view is what delivery needs of a rule.
type view struct {
	place
	arn, name string
	targets   []*target
}

func (r *rule) view() *view {
	return &view{place: r.place, arn: r.arn(), name: r.Name, targets: r.targets}
}

// matcherOf returns a bus's matcher, made anew if its rules have changed, and its policy.
func (s *Service) matcherOf(where place, name string) (*matcher, *policy.Policy, bool) {
	s.mu.RLock()
	if c := s.places[where]; c != nil {
		if b := c.buses[name]; b != nil && b.matcher != nil {
			defer s.mu.RUnlock()
			return b.matcher, b.policy, true
		}
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	here := s.at(where)
	b := here.buses[name]
	if b == nil {
		return nil, nil, false
	}
	if b.matcher == nil {
		b.matcher = here.compile(b)
	}
	return b.matcher, b.policy, true
}

func (c *contents) compile(b *bus) *matcher {
	m := &matcher{}
	var patterns []*router.Pattern
	for _, r := range sorted(b.rules, func(_ string, r *rule) bool { return r.pattern != nil && r.on() }) {
		patterns = append(patterns, r.pattern)
		m.matched = append(m.matched, subscriber{rule: r.view()})
	}
	for _, a := range sorted(c.archives, func(_ string, a *archive) bool { return a.Source == b.arn() }) {
		if a.pattern == nil {
			m.all = append(m.all, a)
			continue
		}
		patterns = append(patterns, a.pattern)
		m.matched = append(m.matched, subscriber{archive: a})
	}
	m.set = router.NewSet(patterns...)
	return m
}

// match returns the rules and the archives that want an event.
func (m *matcher) match(e *inflight) (rules []*view, archives []*archive, err error) {
	if !e.replayed { // replayed events are not archived again
		archives = m.all
	}
	var found [16]int
	hits, err := m.set.Match(found[:0], e.doc)
	if err != nil {
		return nil, nil, fmt.Errorf("matching event %s: %w", e.id, err)
	}
	for _, i := range hits {
		switch x := m.matched[i]; {
		case x.archive != nil && !e.replayed:
			archives = append(archives[:len(archives):len(archives)], x.archive)
		case x.rule != nil && (len(e.only) == 0 || slices.Contains(e.only, x.rule.arn)):
			rules = append(rules, x.rule)
		}
	}
	return rules, archives, nil
}
