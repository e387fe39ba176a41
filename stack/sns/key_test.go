package sns

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // signature version 1 is defined with it
	"crypto/sha256"
	"fmt"
	"math/big"
	"testing"
)

// TestKeysSignAsRSADoes has crypto/rsa verify signatures of many keys.
func TestKeysSignAsRSADoes(t *testing.T) {
	t.Parallel()
	for i := range 20 {
		k, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		again, rest, err := parseKey(append(k.bytes(), "rest"...))
		if err != nil || string(rest) != "rest" || again.public.N.Cmp(k.public.N) != 0 {
			t.Fatalf("%v, %q", err, rest)
		}
		for j := range 20 {
			text := fmt.Append(nil, i, j)
			long, short := sha256.Sum256(text), sha1.Sum(text) //nolint:gosec // see the import
			for hash, digest := range map[crypto.Hash][]byte{crypto.SHA256: long[:], crypto.SHA1: short[:]} {
				signature, err := again.Sign(nil, digest, hash)
				if err == nil {
					err = rsa.VerifyPKCS1v15(&k.public, hash, digest, signature)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := k.Sign(nil, []byte("short"), crypto.SHA256); err == nil {
			t.Error("a digest of five bytes is signed")
		}
		if _, err := k.Sign(nil, make([]byte, crypto.SHA512.Size()), crypto.SHA512); err == nil {
			t.Error("a digest of SHA-512 is signed")
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	k, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	good := k.bytes()
	for name, b := range map[string][]byte{
		"short": good[:len(good)-1], "zero": make([]byte, len(good)), "twice the same": append(append([]byte(nil), good[:primeLen]...), good[:len(good)-primeLen]...),
	} {
		if _, _, err := parseKey(b); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := keyOf([]*big.Int{big.NewInt(3)}); err == nil {
		t.Error("a key of two bits is taken")
	}
}

func BenchmarkSign(b *testing.B) {
	k, err := newKey()
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("text"))
	for b.Loop() {
		if _, err := k.Sign(nil, digest[:], crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}
