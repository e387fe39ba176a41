package sns

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"math/big"
)

// The key is small, of four primes (RFC 8017, section 3.2), and used without hiding it from those who can measure how
// long that takes: signing is most of what a Publish does. A signature by crypto/rsa takes three times as long, and one
// with a key of AWS's 2,048 bits ten times. It proves no more than that its form is right, since anybody who reaches the
// stack can have a message signed.
const (
	keyBits   = 1024
	keyPrimes = 4
	primeLen  = keyBits / keyPrimes / 8 // bytes
)

const publicExponent = 65537

// key is an RSA key, and a crypto.Signer of signatures by PKCS #1, version 1.5.
type key struct {
	public rsa.PublicKey
	primes []factor
}

// factor is a prime of the modulus and what the Chinese remainder theorem needs of it.
type factor struct {
	p, exponent     *big.Int
	before, inverse *big.Int // the product of the primes before it, and the inverse of that
}

// newKey makes a key.
func newKey() (*key, error) {
	for {
		primes := make([]*big.Int, keyPrimes)
		for i := range primes {
			var err error
			if primes[i], err = rand.Prime(rand.Reader, keyBits/keyPrimes); err != nil {
				return nil, err
			}
		}
		if k, err := keyOf(primes); err == nil {
			return k, nil
		}
	}
}

// keyOf is the key of some primes. It is an error if they make none.
func keyOf(primes []*big.Int) (*key, error) {
	k := &key{public: rsa.PublicKey{N: big.NewInt(1), E: publicExponent}}
	one, e := big.NewInt(1), big.NewInt(publicExponent)
	for _, p := range primes {
		f := factor{p: p, before: new(big.Int).Set(k.public.N)}
		f.exponent = new(big.Int).ModInverse(e, new(big.Int).Sub(p, one))
		f.inverse = new(big.Int).ModInverse(f.before, p)
		if f.exponent == nil || f.inverse == nil {
			return nil, errors.New("these primes make no key")
		}
		k.primes = append(k.primes, f)
		k.public.N.Mul(k.public.N, p)
	}
	if k.public.N.BitLen() != keyBits {
		return nil, fmt.Errorf("these primes make a key of %d bits", k.public.N.BitLen())
	}
	return k, nil
}

// parseKey reads what bytes has written, and returns the rest.
func parseKey(b []byte) (*key, []byte, error) {
	if len(b) < keyPrimes*primeLen {
		return nil, nil, errors.New("it is too short")
	}
	primes := make([]*big.Int, keyPrimes)
	for i := range primes {
		primes[i] = new(big.Int).SetBytes(b[:primeLen])
		b = b[primeLen:]
	}
	k, err := keyOf(primes)
	return k, b, err
}

// bytes is the key's primes.
func (k *key) bytes() []byte {
	b := make([]byte, keyPrimes*primeLen)
	for i, f := range k.primes {
		f.p.FillBytes(b[i*primeLen : (i+1)*primeLen])
	}
	return b
}

func (k *key) Public() crypto.PublicKey { return &k.public }

// What precedes a digest in a signature: its algorithm, in DER (RFC 8017, section 9.2).
var digestInfo = map[crypto.Hash][]byte{
	crypto.SHA1:   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
	crypto.SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
}

// Sign signs a digest of SHA-1 or SHA-256. The reader is not used.
func (k *key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	info := digestInfo[opts.HashFunc()]
	if info == nil || len(digest) != opts.HashFunc().Size() {
		return nil, errors.New("only digests of SHA-1 and SHA-256 are signed")
	}
	b := make([]byte, keyBits/8)
	tail := len(b) - len(info) - len(digest)
	b[1] = 1
	for i := 2; i < tail-1; i++ {
		b[i] = 0xff
	}
	copy(b[tail:], info)
	copy(b[tail+len(info):], digest)

	var m, signature, part big.Int
	m.SetBytes(b)
	for _, f := range k.primes {
		part.Exp(&m, f.exponent, f.p)
		part.Sub(&part, &signature)
		part.Mul(&part, f.inverse)
		part.Mod(&part, f.p)
		part.Mul(&part, f.before)
		signature.Add(&signature, &part)
	}
	return signature.FillBytes(b), nil
}
