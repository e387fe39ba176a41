package sns

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // signature version 1 is defined with it
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/internal/clock"
)

const (
	fetchTime  = 10 * time.Second
	maxFetch   = 64 << 10 // bytes of a certificate or of the answer to a confirmation
	maxFetches = 4        // at once
	maxCerts   = 32       // kept
	maxChain   = 3        // certificates between a signer's and a root
)

// aws is what the source asks of SNS, or of the service that stands in for it.
type aws struct {
	endpoint *url.URL // nil if there is only Amazon
	roots    *x509.CertPool
	clock    clock.Clock
	client   *http.Client
	fetches  chan struct{} // a token for each fetch under way

	mu    sync.Mutex
	certs map[string]*x509.Certificate // by URL, with a valid chain
}

// forgedError is a message that SNS has not signed. Any other error may heal.
type forgedError struct{ why string }

func (e *forgedError) Error() string { return "the message is not signed by SNS: " + e.why }

func forged(format string, args ...any) error { return &forgedError{fmt.Sprintf(format, args...)} }

// newAWS trusts the authorities of roots, or of the system if that is nil.
func newAWS(endpoint string, roots *x509.CertPool, c clock.Clock) *aws {
	a := &aws{roots: roots, clock: c, fetches: make(chan struct{}, maxFetches), certs: map[string]*x509.Certificate{}}
	if endpoint != "" {
		a.endpoint, _ = url.Parse(endpoint) // Validate has done so before
	}
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}
	a.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the host that was checked is the host that answers
	}}
	return a
}

func (a *aws) close() { a.client.CloseIdleConnections() }

// The versions of signatures.
var hashes = map[string]crypto.Hash{"1": crypto.SHA1, "2": crypto.SHA256}

// verify checks that SNS has signed m.
func (a *aws) verify(ctx context.Context, m *event.SNSMessage) error {
	hash, ok := hashes[m.SignatureVersion]
	if !ok {
		return forged("SignatureVersion is %q, want 1 or 2", m.SignatureVersion)
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil || len(signature) == 0 {
		return forged("Signature is not base64")
	}
	cert, err := a.certificate(ctx, m)
	if err != nil {
		return err
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return forged("the certificate has no RSA key")
	}
	digest := digest(hash, m.AppendSigned(nil))
	if rsa.VerifyPKCS1v15(key, hash, digest, signature) != nil {
		return forged("the signature does not fit the message")
	}
	return nil
}

func digest(hash crypto.Hash, text []byte) []byte {
	if hash == crypto.SHA1 {
		sum := sha1.Sum(text) //nolint:gosec // see the import
		return sum[:]
	}
	sum := sha256.Sum256(text)
	return sum[:]
}

// amazonCertificate is the path of a signing certificate on Amazon's hosts.
var amazonCertificate = regexp.MustCompile(`^/SimpleNotificationService-[0-9A-Za-z]+\.pem$`)

// certificate is the one that m says it is signed with, if that is SNS's and valid now.
func (a *aws) certificate(ctx context.Context, m *event.SNSMessage) (*x509.Certificate, error) {
	u, err := url.Parse(m.SigningCertURL)
	if err != nil {
		return nil, forged("SigningCertURL is no URL")
	}
	names := []string{amazonHost(m.TopicARN), "sns.amazonaws.com"}
	switch {
	case a.ofEndpoint(u):
		names = append(names, a.endpoint.Hostname())
	case !ofAmazon(u, m.TopicARN) || !amazonCertificate.MatchString(u.Path) || u.RawQuery != "":
		return nil, forged("SigningCertURL %q is not one of SNS in the topic's region", m.SigningCertURL)
	}
	key := u.String()
	a.mu.Lock()
	cert := a.certs[key]
	a.mu.Unlock()
	if cert == nil {
		data, err := a.get(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("getting the signing certificate: %w", err)
		}
		if cert, err = a.trusted(ctx, data); err != nil {
			return nil, err
		}
		a.mu.Lock()
		if len(a.certs) >= maxCerts {
			clear(a.certs)
		}
		a.certs[key] = cert
		a.mu.Unlock()
	}
	if now := a.clock.Now(); now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
		return nil, forged("its certificate is valid from %v to %v only", cert.NotBefore, cert.NotAfter)
	}
	for _, name := range names {
		if cert.VerifyHostname(name) == nil {
			return cert, nil
		}
	}
	return nil, forged("its certificate is not for %s", strings.Join(names, " or "))
}

// trusted reads a PEM file and returns its first certificate, if a root vouches for it. SNS's files may leave
// out the authorities in between; a certificate says where the next one is.
func (a *aws) trusted(ctx context.Context, data []byte) (*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, forged("its certificate can not be read: %v", err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, forged("SigningCertURL has no certificate in PEM form")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	for last := chain[len(chain)-1]; ; {
		_, err := chain[0].Verify(x509.VerifyOptions{
			Roots: a.roots, Intermediates: between, CurrentTime: a.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		var unknown x509.UnknownAuthorityError
		if err == nil {
			return chain[0], nil
		}
		if !errors.As(err, &unknown) || len(chain) > maxChain {
			return nil, forged("its certificate is not trusted: %v", err)
		}
		issuer, err2 := a.issuer(ctx, last)
		if err2 != nil {
			return nil, err2
		}
		if issuer == nil {
			return nil, forged("its certificate is not trusted: %v", err)
		}
		chain, last = append(chain, issuer), issuer
		between.AddCert(issuer)
	}
}

// issuer gets the certificate of the authority that issued c, or nil if c does not say where that is.
func (a *aws) issuer(ctx context.Context, c *x509.Certificate) (*x509.Certificate, error) {
	for _, text := range c.IssuingCertificateURL {
		u, err := url.Parse(text)
		// It needs no TLS, since what it returns is proved by the chain.
		if err != nil || !a.ofEndpoint(u) && !(u.Scheme == "http" && strings.HasSuffix(u.Host, ".amazontrust.com")) {
			continue
		}
		data, err := a.get(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("getting the issuer of the signing certificate: %w", err)
		}
		if block, _ := pem.Decode(data); block != nil {
			data = block.Bytes
		}
		issuer, err := x509.ParseCertificate(data)
		if err != nil {
			return nil, forged("the certificate of its issuer can not be read: %v", err)
		}
		return issuer, nil
	}
	return nil, nil //nolint:nilnil // not to be told is no error
}

// confirmation is the URL that confirms a subscription, if it is one of SNS for m's topic.
func (a *aws) confirmation(m *event.SNSMessage) (*url.URL, error) {
	u, err := url.Parse(m.SubscribeURL)
	if err != nil || !a.ofEndpoint(u) && !ofAmazon(u, m.TopicARN) {
		return nil, fmt.Errorf("SubscribeURL %q is not one of SNS in the topic's region", m.SubscribeURL)
	}
	if q := u.Query(); q.Get("Action") != "ConfirmSubscription" || q.Get("TopicArn") != m.TopicARN {
		return nil, fmt.Errorf("SubscribeURL %q does not confirm a subscription to %s", m.SubscribeURL, m.TopicARN)
	}
	return u, nil
}

// amazonHost is the host of SNS in a topic's region.
func amazonHost(topicARN string) string {
	parts := strings.SplitN(topicARN, ":", 6)
	if len(parts) != 6 || !region.MatchString(parts[3]) {
		return "sns.invalid"
	}
	host := "sns." + parts[3] + ".amazonaws.com"
	if parts[1] == "aws-cn" {
		host += ".cn"
	}
	return host
}

var region = regexp.MustCompile(`^[a-z0-9-]+$`)

func ofAmazon(u *url.URL, topicARN string) bool {
	host := amazonHost(topicARN)
	return u.Scheme == "https" && u.User == nil && (u.Host == host || u.Host == host+":443")
}

func (a *aws) ofEndpoint(u *url.URL) bool {
	return a.endpoint != nil && u.User == nil && u.Scheme == a.endpoint.Scheme && u.Host == a.endpoint.Host
}

// get fetches a small file.
func (a *aws) get(ctx context.Context, u *url.URL) ([]byte, error) {
	ctx, cancel := clock.WithTimeout(ctx, a.clock, fetchTime)
	defer cancel()
	select {
	case a.fetches <- struct{}{}:
		defer func() { <-a.fetches }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxFetch+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s", u.Host, resp.Status)
	case len(data) > maxFetch:
		return nil, fmt.Errorf("%s answers with more than %d bytes", u.Host, maxFetch)
	}
	return data, nil
}
