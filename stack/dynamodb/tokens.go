package dynamodb

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// tokenLife is how long a ClientRequestToken makes a transaction idempotent.
const tokenLife = 10 * time.Minute

// tokens are the client request tokens of transactions.
type tokens struct {
	mu    sync.Mutex
	known map[string]*token
	order []string // of the tokens that are done, by their expiry
}

type token struct {
	Hash    [sha256.Size]byte
	Expires time.Time // zero while the transaction is under way
}

func newTokens() *tokens { return &tokens{known: map[string]*token{}} }

func (k *tokens) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.known)
	k.order = nil
}

// begin announces a transaction. done tells that it was made before.
func (k *tokens) begin(name string, hash [sha256.Size]byte, now time.Time) (done bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.order) > 0 {
		old := k.known[k.order[0]]
		if old != nil && old.Expires.After(now) {
			break
		}
		delete(k.known, k.order[0])
		k.order = k.order[1:]
	}
	t := k.known[name]
	switch {
	case t == nil:
		k.known[name] = &token{Hash: hash}
		return false, nil
	case t.Hash != hash:
		return false, wire.Errorf("IdempotentParameterMismatchException",
			"Request parameters do not match those of the original request with this ClientRequestToken.")
	case t.Expires.IsZero():
		return false, wire.Errorf("TransactionInProgressException", "A transaction with this ClientRequestToken is already in progress.")
	}
	return true, nil
}

// succeed remembers that a transaction was made, on the disk too.
func (k *tokens) succeed(name string, now time.Time, b *store.Batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.known[name]
	if t == nil { // everything was forgotten meanwhile
		return
	}
	t.Expires = now.Add(tokenLife)
	k.order = append(k.order, name)
	b.Set(tokensRoot+name, encode(t))
}

// fail forgets a transaction that was not made.
func (k *tokens) fail(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.known[name]; t != nil && t.Expires.IsZero() {
		delete(k.known, name)
	}
}

func (k *tokens) load(name string, value []byte) error {
	t := &token{}
	if err := json.Unmarshal(value, t); err != nil {
		return err
	}
	k.known[name] = t
	k.order = append(k.order, name)
	return nil
}
