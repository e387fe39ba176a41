package sns

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // signature version 1 is defined with it
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/store"
)

// keyBits is small for speed: signing is the larger part of a Publish. The key proves no more than that the form is
// right, and anything that can reach the stack can have a message signed anyway.
const keyBits = 1024

const keyName = "sns/key"

// signer signs messages with a key that is made when it is first needed. A durable stack keeps it.
type signer struct {
	store *store.Store

	once sync.Once
	err  error
	key  *rsa.PrivateKey
	pem  []byte // the certificate
	at   string // its path
}

func (s *signer) ready() error {
	s.once.Do(func() { s.err = s.make() })
	return s.err
}

func (s *signer) certificate() ([]byte, error) {
	err := s.ready()
	return s.pem, err
}

func (s *signer) path() (string, error) {
	err := s.ready()
	return s.at, err
}

// make reads the key, or makes one.
func (s *signer) make() error {
	file, ok, err := s.store.Get(keyName)
	if err != nil {
		return err
	}
	if !ok {
		if file, err = newKey(); err != nil {
			return fmt.Errorf("making the key that messages are signed with: %w", err)
		}
		var b store.Batch
		b.Set(keyName, file)
		c := s.store.Commit(&b)
		if err := c.Wait(); err != nil {
			return err
		}
	}
	block, rest := pem.Decode(file)
	if block == nil {
		return fmt.Errorf("reading the key that messages are signed with: it is not in PEM form")
	}
	if s.key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		return fmt.Errorf("reading the key that messages are signed with: %w", err)
	}
	sum := sha256.Sum256(rest)
	s.pem, s.at = rest, "/_millrace/sns/SimpleNotificationService-"+hex.EncodeToString(sum[:16])+".pem"
	return nil
}

// newKey makes a key and its certificate, in PEM form.
func newKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "sns.amazonaws.com", Organization: []string{"millrace's local stack"}},
		DNSNames: []string{"sns.amazonaws.com"},
		// A test may set the clock to any time.
		NotBefore: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return append(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// sign returns the signature of a message, by its SignatureVersion.
func (s *signer) sign(m *event.SNSMessage) (string, error) {
	if err := s.ready(); err != nil {
		return "", err
	}
	signed := m.AppendSigned(nil)
	var signature []byte
	var err error
	if m.SignatureVersion == "2" {
		sum := sha256.Sum256(signed)
		signature, err = rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	} else {
		sum := sha1.Sum(signed) //nolint:gosec // see the import
		signature, err = rsa.SignPKCS1v15(nil, s.key, crypto.SHA1, sum[:])
	}
	if err != nil {
		return "", fmt.Errorf("signing a message: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}
