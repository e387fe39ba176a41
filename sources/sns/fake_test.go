package sns

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/event"
)

const topic = "arn:aws:sns:eu-central-1:123456789012:orders"

// authority is a certificate that can make others.
type authority struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// keys are made once: that takes a second.
var keys = sync.OnceValue(func() (list [3]*rsa.PrivateKey) {
	for i := range list {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		list[i] = key
	}
	return list
})

// issue makes a certificate; the nil authority makes its own. Without names it is an authority.
func (a *authority) issue(t testing.TB, key *rsa.PrivateKey, serial int64, change func(*x509.Certificate), names ...string) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		DNSNames: names, BasicConstraintsValid: true, IsCA: len(names) == 0,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if len(names) == 0 {
		template.Subject.CommonName = "authority " + template.SerialNumber.String()
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// service is SNS on the wire: it signs as SNS does, and serves its certificate and the URL of a confirmation.
type service struct {
	testing.TB
	server *httptest.Server
	root   *authority
	inter  *authority
	signer *authority

	mu        sync.Mutex
	files     map[string][]byte
	fetched   map[string]int
	confirmed []string // queries
	confirms  int      // status of the answer to a confirmation
}

const certificatePath = "/SimpleNotificationService-0123456789abcdef.pem"

func newService(t testing.TB) *service {
	s := &service{TB: t, files: map[string][]byte{}, fetched: map[string]int{}, confirms: http.StatusOK}
	s.root = (*authority)(nil).issue(t, keys()[0], 1, nil)
	host := s.root.issue(t, keys()[1], 2, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, "localhost")
	s.server = httptest.NewUnstartedServer(s)
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{host.cert.Raw}, PrivateKey: host.key}}}
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.inter = s.root.issue(t, keys()[1], 3, nil)
	s.sign(nil, "sns.eu-central-1.amazonaws.com")
	return s
}

// sign makes the service sign with a new certificate, whose file has the authority in between too.
func (s *service) sign(change func(*x509.Certificate), names ...string) {
	s.Helper()
	s.signer = s.inter.issue(s, keys()[2], 4, change, names...)
	s.serve(certificatePath, append(s.signer.pem(), s.inter.pem()...))
}

func (s *service) serve(path string, file []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = file
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched[r.URL.Path]++
	if r.URL.Path == "/" {
		s.confirmed = append(s.confirmed, r.URL.RawQuery)
		w.Header().Set("Location", s.server.URL+certificatePath)
		w.WriteHeader(s.confirms)
		return
	}
	file, ok := s.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Write(file)
}

func (s *service) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetched[path]
}

// config is that of a trigger that trusts the service.
func (s *service) config() Config {
	s.Helper()
	file := filepath.Join(s.TempDir(), "ca.pem")
	if err := os.WriteFile(file, s.root.pem(), 0o600); err != nil {
		s.Fatal(err)
	}
	c := Defaults()
	c.Listen, c.TopicARNs, c.Endpoint, c.CertificateAuthority = "/sns/orders", []string{topic}, s.server.URL, file
	return c
}

// message is a signed one; change is made before the signature.
func (s *service) message(version, text string, change func(*event.SNSMessage)) *event.SNSMessage {
	s.Helper()
	m := &event.SNSMessage{
		Type: event.SNSNotification, MessageID: "95df01b4-ee98-5cb9-9903-4c221d41eb5e", TopicARN: topic, Message: text,
		Timestamp: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), SignatureVersion: version,
		SigningCertURL: s.server.URL + certificatePath,
		UnsubscribeURL: s.server.URL + "/?Action=Unsubscribe&SubscriptionArn=" + topic + ":21be56ed-a058-49f5-8c98-aedd2564c486",
	}
	if change != nil {
		change(m)
	}
	hash := crypto.SHA1
	if m.SignatureVersion == "2" {
		hash = crypto.SHA256
	}
	signature, err := rsa.SignPKCS1v15(nil, s.signer.key, hash, digest(hash, m.AppendSigned(nil)))
	if err != nil {
		s.Fatal(err)
	}
	m.Signature = base64.StdEncoding.EncodeToString(signature)
	return m
}

// confirmation is a signed request to confirm a subscription.
func (s *service) confirmation(change func(*event.SNSMessage)) *event.SNSMessage {
	s.Helper()
	return s.message("1", "You have chosen to subscribe.", func(m *event.SNSMessage) {
		m.Type, m.Token, m.UnsubscribeURL = event.SNSSubscribe, "2336412f37fb687f5d51e6e2425e90cc", ""
		m.SubscribeURL = s.server.URL + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + m.Token
		if change != nil {
			change(m)
		}
	})
}

// body is a message as it is posted.
func body(t testing.TB, m *event.SNSMessage) string {
	t.Helper()
	post := map[string]any{}
	for name, v := range map[string]string{
		"Type": m.Type, "MessageId": m.MessageID, "TopicArn": m.TopicARN, "Subject": m.Subject, "Message": m.Message,
		"Timestamp": m.Timestamp, "SignatureVersion": m.SignatureVersion, "Signature": m.Signature,
		"SigningCertURL": m.SigningCertURL, "UnsubscribeURL": m.UnsubscribeURL, "SubscribeURL": m.SubscribeURL, "Token": m.Token,
	} {
		if v != "" {
			post[name] = v
		}
	}
	attributes := map[string]any{}
	for _, a := range m.Attributes {
		attributes[a.Name] = map[string]string{"Type": a.Type, "Value": a.Value}
	}
	if len(attributes) > 0 {
		post["MessageAttributes"] = attributes
	}
	text, err := json.Marshal(post)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
