package kinesis

import (
	"cmp"
	"crypto/md5" //nolint:gosec // the service's own hash
	"encoding/binary"
	"math/big"
	"math/bits"
)

// hashKey is a 128-bit number: the MD5 of a partition key, and the bounds of the ranges that shards take.
type hashKey struct{ hi, lo uint64 }

var lastHashKey = hashKey{^uint64(0), ^uint64(0)}

func hashOf(partitionKey string) hashKey {
	sum := md5.Sum([]byte(partitionKey)) //nolint:gosec // the service's own hash
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

func (k hashKey) compare(o hashKey) int {
	if c := cmp.Compare(k.hi, o.hi); c != 0 {
		return c
	}
	return cmp.Compare(k.lo, o.lo)
}

// next is the number after k; 0 after the last.
func (k hashKey) next() hashKey {
	lo, carry := bits.Add64(k.lo, 1, 0)
	hi, _ := bits.Add64(k.hi, 0, carry)
	return hashKey{hi, lo}
}

// previous is the number before k; the last before 0.
func (k hashKey) previous() hashKey {
	lo, borrow := bits.Sub64(k.lo, 1, 0)
	hi, _ := bits.Sub64(k.hi, 0, borrow)
	return hashKey{hi, lo}
}

func (k hashKey) big() *big.Int {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return new(big.Int).SetBytes(b[:])
}

func (k hashKey) String() string { return k.big().String() }

// parseHashKey reads a decimal number without sign or leading zeros, as the service's pattern demands. It is false
// for numbers from 2^128 on too.
func parseHashKey(s string) (hashKey, bool) {
	if !isNumber(s, 39) {
		return hashKey{}, false
	}
	var k hashKey
	for i := range len(s) {
		high, lo := bits.Mul64(k.lo, 10)
		over, hi := bits.Mul64(k.hi, 10)
		lo, carry := bits.Add64(lo, uint64(s[i]-'0'), 0)
		hi, more := bits.Add64(hi, high, carry)
		if over+more != 0 {
			return hashKey{}, false
		}
		k = hashKey{hi, lo}
	}
	return k, true
}

// isNumber reports whether s is 0 or a decimal number of at most so many digits that does not begin with 0.
func isNumber(s string, digits int) bool {
	if s == "" || len(s) > digits || s[0] == '0' && s != "0" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// evenly returns where the ranges of n shards begin if all have the same size, but for the last, which takes what
// is left over.
func evenly(n int) []hashKey {
	size := new(big.Int).Lsh(big.NewInt(1), 128)
	size.Div(size, big.NewInt(int64(n)))
	at := new(big.Int)
	starts := make([]hashKey, n)
	for i := range starts {
		var b [16]byte
		at.FillBytes(b[:])
		starts[i] = hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
		at.Add(at, size)
	}
	return starts
}
