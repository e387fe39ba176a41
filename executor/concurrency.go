package executor

import (
	"context"
	"errors"
	"sync"
)

// Concurrency is an account's concurrency: how many invocations may run at once, over all its functions.
// Reserved concurrency is set aside for its function, and caps it; what is left is shared by the rest. One
// that is over its share is refused at once, never made to wait.
type Concurrency struct {
	mu       sync.Mutex
	shared   int // invocations that functions without a reservation may run at once
	running  int // of those
	reserved map[string]*share
}

type share struct{ limit, running int }

// NewConcurrency makes an account that runs at most total invocations at once.
func NewConcurrency(total int) *Concurrency {
	return &Concurrency{shared: total, reserved: map[string]*share{}}
}

// Reserve sets the reserved concurrency of a function; Unreserved takes it back. Invocations under way count
// against the share that they began on.
func (c *Concurrency) Reserve(function string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.reserved[function]
	switch {
	case n == Unreserved && s != nil:
		c.shared += s.limit
		delete(c.reserved, function)
	case n != Unreserved && s == nil:
		c.shared -= n
		c.reserved[function] = &share{limit: n}
	case n != Unreserved:
		c.shared += s.limit - n
		s.limit = n
	}
}

// Acquire takes a place for one invocation of a function, until release is called once. If there is none it
// returns an *Error of kind Throttled.
func (c *Concurrency) Acquire(function string) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.reserved[function]; s != nil {
		if s.running >= s.limit {
			return nil, &Error{Kind: Throttled, Function: function, Reason: ReasonReserved, Err: errRate}
		}
		s.running++
		return func() { c.mu.Lock(); s.running--; c.mu.Unlock() }, nil
	}
	if c.running >= c.shared {
		return nil, &Error{Kind: Throttled, Function: function, Reason: ReasonConcurrency, Err: errRate}
	}
	c.running++
	return func() { c.mu.Lock(); c.running--; c.mu.Unlock() }, nil
}

var errRate = errors.New("Rate Exceeded.") // AWS's words

// Limit makes f take a place of c for each invocation.
func (c *Concurrency) Limit(function string, f Function) Function {
	return &limited{Function: f, name: function, account: c}
}

type limited struct {
	Function
	name    string
	account *Concurrency
}

func (l *limited) Invoke(ctx context.Context, req Request) (Response, error) {
	release, err := l.account.Acquire(l.name)
	if err != nil {
		return Response{}, err
	}
	defer release()
	return l.Function.Invoke(ctx, req)
}
