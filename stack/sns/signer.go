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
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/store"
)

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
	s.once.Do(func() {
		if s.err = s.read(); s.err != nil {
			s.err = fmt.Errorf("the key that messages are signed with: %w", s.err)
		}
	})
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

// read takes the key and its certificate from the store, or makes them.
func (s *signer) read() error {
	value, ok, err := s.store.Get(keyName)
	if err != nil {
		return err
	}
	if !ok {
		if value, err = newCertificate(); err != nil {
			return err
		}
		var b store.Batch
		b.Set(keyName, value)
		c := s.store.Commit(&b)
		if err := c.Wait(); err != nil {
			return err
		}
	}
	block, rest := pem.Decode(value)
	if block == nil {
		return errors.New("it is not in PEM form")
	}
	if s.key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		return err
	}
	s.pem = rest
	sum := sha256.Sum256(s.pem)
	s.at = "/_millrace/sns/SimpleNotificationService-" + hex.EncodeToString(sum[:16]) + ".pem"
	return nil
}

// newCertificate makes a key, and after it its certificate, in PEM form.
func newCertificate() ([]byte, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048) // as AWS's are
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
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// sign returns the signature of a message, by its SignatureVersion.
func (s *signer) sign(m *event.SNSMessage) (string, error) {
	if err := s.ready(); err != nil {
		return "", err
	}
	text := m.AppendSigned(nil)
	var signature []byte
	var err error
	if m.SignatureVersion == "2" {
		sum := sha256.Sum256(text)
		signature, err = rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, sum[:])
	} else {
		sum := sha1.Sum(text) //nolint:gosec // see the import
		signature, err = rsa.SignPKCS1v15(nil, s.key, crypto.SHA1, sum[:])
	}
	return base64.StdEncoding.EncodeToString(signature), err
}
