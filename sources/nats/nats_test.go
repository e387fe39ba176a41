package nats_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/nats"
	"github.com/millrace/millrace/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is a NATS server that can be stopped and started at one address.
type broker struct {
	t    testing.TB
	opts server.Options
	mu   sync.Mutex
	srv  *server.Server
}

func newBroker(t testing.TB, change func(*server.Options)) *broker {
	b := &broker{t: t, opts: server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true}}
	if change != nil {
		change(&b.opts)
	}
	b.start()
	b.opts.Port = b.server().Addr().(*net.TCPAddr).Port
	t.Cleanup(b.stop)
	return b
}

func (b *broker) server() *server.Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.srv
}

func (b *broker) start() {
	opts := b.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		b.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("the server does not start")
	}
	b.mu.Lock()
	b.srv = srv
	b.mu.Unlock()
}

func (b *broker) stop() {
	b.server().Shutdown()
	b.server().WaitForShutdown()
}

func (b *broker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.opts.Port) }

// listened reports whether somebody would get a message on subject.
func (b *broker) listened(subject string) bool {
	return b.server().Running() && b.server().GlobalAccount().Interest(subject) > 0
}

func (b *broker) dial(t testing.TB, opts ...client.Option) *client.Conn {
	t.Helper()
	nc, err := client.Connect(b.url(), append(opts, client.NoReconnect())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// bench is a running source and all around it.
type bench struct {
	*broker
	hub     *sourcetest.Hub
	metrics *prometheus.Registry
	log     *logged
	stop    func() // the source, once; waits until it has ended
}

// logged is a log that may be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func open(t testing.TB, d plugin.Deps, b *broker, change func(*nats.Config)) sources.Source {
	t.Helper()
	spec := nats.Spec()
	config := spec.Config().(*nats.Config)
	config.URLs, config.Subjects = []string{b.url()}, []string{"orders.>"}
	if change != nil {
		change(config)
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	d.Name, d.Clock, d.Region, d.Account = "orders", clock.System{}, "us-east-1", "123456789012"
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Metrics == nil {
		d.Metrics = prometheus.NewRegistry()
	}
	s, err := spec.Open(context.Background(), config, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t *testing.T, b *broker, change func(*nats.Config)) *bench {
	t.Helper()
	x := &bench{broker: b, hub: sourcetest.NewHub(t), metrics: prometheus.NewRegistry(), log: &logged{}}
	source := open(t, plugin.Deps{Metrics: x.metrics, Log: slog.New(slog.NewTextHandler(x.log, nil))}, b, change)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, x.hub.Hub()) }()
	x.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(x.stop)
	return x
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, 20*time.Second)
	defer cancel()
	for !ok() {
		if clock.Sleep(ctx, clock.System{}, time.Millisecond) != nil {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func (x *bench) ready(t testing.TB) {
	t.Helper()
	until(t, "the subscription", func() bool { return x.listened("orders.x") })
}

// total is the value of a result in millrace_nats_messages_total.
func (x *bench) total(result string) float64 {
	return testutil.ToFloat64(plugin.Register(x.metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_nats_messages_total",
		Help: "Messages of NATS by result: accepted, answered, failed, refused, dropped or lost.",
	}, []string{"trigger", "result"})).WithLabelValues("orders", result))
}

func conformance(t *testing.T, request bool) {
	sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
		b := newBroker(t, nil)
		return sourcetest.Upstream{
			Open: func(t testing.TB) sources.Source { return open(t, plugin.Deps{}, b, nil) },
			Put: func(ctx context.Context, id string) error {
				nc, err := client.Connect(b.url(), client.NoReconnect())
				if err != nil {
					return err
				}
				defer nc.Close()
				if !request {
					if err := nc.Publish("orders.new", []byte(id)); err != nil {
						return err
					}
					return nc.Flush()
				}
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // RequestMsgWithContext wants a deadline
				defer cancel()
				reply, err := nc.RequestWithContext(ctx, "orders.new", []byte(id))
				if err != nil {
					return err
				}
				if text := reply.Header.Get("Nats-Service-Error"); text != "" {
					return errors.New(text)
				}
				return nil
			},
			Ready:       func() bool { return b.listened("orders.new") },
			Confirms:    request,
			Redelivers:  !request,
			Concurrency: 32,
			Stop:        func(testing.TB) { b.stop() },
			Start:       func(testing.TB) { b.start() },
		}
	})
}

func TestConformance(t *testing.T) {
	t.Run("published", func(t *testing.T) { t.Parallel(); conformance(t, false) })
	t.Run("requested", func(t *testing.T) { t.Parallel(); conformance(t, true) })
}

type document struct {
	Records []struct {
		EventSource    string
		EventSourceARN string
		Subject        string
		Reply          string
		QueueGroup     string
		Timestamp      int64
		Headers        map[string][]string
		Data           []byte
	}
}

func (x *bench) documents(t testing.TB) []document {
	t.Helper()
	var docs []document
	for _, c := range x.hub.Calls() {
		var d document
		if err := json.Unmarshal(c.Payload, &d); err != nil {
			t.Fatalf("%v: %s", err, c.Payload)
		}
		docs = append(docs, d)
	}
	return docs
}

func TestAMessageBecomesADocument(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), func(c *nats.Config) { c.QueueGroup = "billing" })
	x.ready(t)
	msg := client.NewMsg("orders.eu.created")
	msg.Data = []byte{0, 0xff, '"'}
	msg.Header = client.Header{"A": {"1", "2"}, "Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	if err := x.dial(t).PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	until(t, "the message", func() bool { return len(x.hub.Calls()) == 1 })
	call, rec := x.hub.Calls()[0], x.documents(t)[0].Records[0]
	if rec.EventSource != "millrace:nats" || rec.EventSourceARN != "arn:millrace:nats:us-east-1:123456789012:orders" || rec.Subject != "orders.eu.created" ||
		rec.QueueGroup != "billing" || rec.Reply != "" || !bytes.Equal(rec.Data, msg.Data) || !slices.Equal(rec.Headers["A"], []string{"1", "2"}) || rec.Timestamp == 0 {
		t.Errorf("document %s", call.Payload)
	}
	if call.Invoked || call.TraceParent != msg.Header.Get("Traceparent") {
		t.Errorf("call %+v", call)
	}
	if x.total("accepted") != 1 {
		t.Errorf("%v accepted", x.total("accepted"))
	}
}

func TestARequestIsAnsweredByTheFunction(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), nil)
	x.ready(t)
	nc := x.dial(t)
	for _, c := range []struct {
		name string
		resp executor.Response
		err  error
		want string // code, text, whether the function failed, data
	}{
		{"an answer", executor.Response{Payload: []byte(`{"ok":true}`)}, nil, `  false {"ok":true}`},
		{"a failure", executor.Response{Payload: []byte(`{"errorType":"E"}`), Failure: &executor.Failure{Type: "E", Message: "line\r\nX-Evil: 1"}}, nil,
			`500 E: line  X-Evil: 1 true {"errorType":"E"}`},
		{"throttled", executor.Response{}, &executor.Error{Kind: executor.Throttled, Function: "f", Err: errors.New("Rate Exceeded.")}, `429 invoking f: throttled: Rate Exceeded. false `},
		{"too large", executor.Response{}, &executor.Error{Kind: executor.TooLarge, Function: "f", Err: errors.New("x")}, `413 invoking f: too large: x false `},
		{"refused", executor.Response{}, &executor.Error{Kind: executor.Refused, Function: "f", Err: errors.New("x")}, `400 invoking f: refused: x false `},
		{"unready", executor.Response{}, &executor.Error{Kind: executor.Unready, Function: "f", Err: errors.New("x")}, `503 invoking f: unready: x false `},
		{"internal", executor.Response{}, &executor.Error{Kind: executor.Internal, Function: "f", Err: errors.New("x")}, `500 invoking f: internal: x false `},
		{"over max_payload", executor.Response{Payload: bytes.Repeat([]byte("x"), 2<<20)}, nil, `500 the answer of 2097152 bytes is over the server's max_payload false `},
	} {
		x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) { return c.resp, c.err })
		reply, err := nc.Request("orders.price", []byte("?"), 10*time.Second)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := fmt.Sprintf("%s %s %v %s", reply.Header.Get("Nats-Service-Error-Code"), reply.Header.Get("Nats-Service-Error"),
			reply.Header.Get("X-Amz-Function-Error") == "Unhandled", reply.Data)
		if got != c.want || len(reply.Header.Get("X-Evil")) > 0 {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
	for _, call := range x.hub.Calls() {
		if !call.Invoked {
			t.Error("a request was queued")
		}
	}
	if x.total("answered") != 2 || x.total("failed") != 6 {
		t.Errorf("%v answered, %v failed", x.total("answered"), x.total("failed"))
	}
}

// A publisher of JetStream waits for the stream's answer, and must not get the function's.
func TestARequestIsQueuedWhereAnswersAreNotWanted(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), func(c *nats.Config) { c.AnswerRequests = false })
	x.ready(t)
	if reply, err := x.dial(t).Request("orders.x", nil, 200*time.Millisecond); !errors.Is(err, client.ErrTimeout) {
		t.Errorf("answered: %v, %v", reply, err)
	}
	until(t, "the message", func() bool { return len(x.hub.Calls()) == 1 })
	if x.hub.Calls()[0].Invoked || x.documents(t)[0].Records[0].Reply == "" {
		t.Errorf("call %+v", x.hub.Calls()[0])
	}
}

func TestMembersOfAQueueGroupShareTheMessages(t *testing.T) {
	t.Parallel()
	b := newBroker(t, nil)
	group := func(c *nats.Config) { c.QueueGroup = "g" }
	x, y := start(t, b, group), start(t, b, group)
	until(t, "both subscriptions", func() bool {
		return b.server().NumSubscriptions() >= 2 && b.server().NumClients() == 2 && b.listened("orders.x")
	})
	until(t, "the second member", func() bool { return b.server().GlobalAccount().Interest("orders.x") == 2 })
	nc := b.dial(t)
	for i := range 200 {
		if err := nc.Publish("orders.x", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all messages", func() bool { return len(x.hub.Calls())+len(y.hub.Calls()) >= 200 })
	x.stop()
	y.stop()
	nx, ny := len(x.hub.Calls()), len(y.hub.Calls())
	if nx+ny != 200 || nx == 0 || ny == 0 {
		t.Errorf("%d and %d of 200 messages", nx, ny)
	}
}

func TestMessagesKeepTheirOrderOneAtATime(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), func(c *nats.Config) { c.MaximumConcurrency = 1 })
	x.ready(t)
	nc := x.dial(t)
	for i := range 500 {
		if err := nc.Publish("orders.x", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all messages", func() bool { return len(x.hub.Calls()) == 500 })
	for i, d := range x.documents(t) {
		if string(d.Records[0].Data) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, d.Records[0].Data)
		}
	}
}

func TestWhatIsAboveTheLimitsIsDroppedAndCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size int
		set  func(*nats.Config)
		kept int // besides the one that is worked on
	}{
		"messages": {10, func(c *nats.Config) { c.PendingMessages = 5 }, 5},
		"bytes":    {300 << 10, func(c *nats.Config) { c.PendingBytes = plugin.MB }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := start(t, newBroker(t, nil), func(config *nats.Config) { config.MaximumConcurrency = 1; c.set(config) })
			x.ready(t)
			busy, gate := make(chan struct{}, 100), make(chan struct{})
			x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
				busy <- struct{}{}
				<-gate
				return executor.Response{}, nil
			})
			nc := x.dial(t)
			publish := func(n int) {
				for range n {
					if err := nc.Publish("orders.x", make([]byte, c.size)); err != nil {
						t.Fatal(err)
					}
				}
			}
			publish(1)
			<-busy // and now the dispatcher takes one more and waits for its place
			publish(20)
			until(t, "20 messages to be dropped or in line", func() bool { return x.total("dropped") >= float64(20-c.kept-1) })
			close(gate)
			until(t, "the rest", func() bool { return x.total("accepted")+x.total("dropped") == 21 })
			if kept := x.total("accepted"); kept < float64(c.kept+1) || kept > float64(c.kept+2) {
				t.Errorf("%v of 21 messages kept, want the %d that may wait and the one or two that do not", kept, c.kept)
			}
			if n := strings.Count(x.log.String(), "messages come faster"); n != 1 {
				t.Errorf("%d complaints:\n%s", n, x.log)
			}
		})
	}
}

func TestWhatTheFunctionCanNeverTakeIsRefusedOnce(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), nil)
	x.ready(t)
	x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		return executor.Response{}, &executor.Error{Kind: executor.TooLarge, Function: "f", Err: errors.New("over 1 MB")}
	})
	if err := x.dial(t).Publish("orders.x", make([]byte, 900<<10)); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal", func() bool { return x.total("refused") == 1 })
	if !strings.Contains(x.log.String(), "over 1 MB") {
		t.Errorf("log %s", x.log)
	}
}

func TestStoppingQueuesWhatIsInLine(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), func(c *nats.Config) { c.MaximumConcurrency = 2 })
	x.ready(t)
	busy, gate := make(chan struct{}, 1000), make(chan struct{})
	release := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		busy <- struct{}{}
		<-gate
		return executor.Response{}, nil
	})
	nc := x.dial(t)
	for range 300 {
		if err := nc.Publish("orders.x", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	<-busy
	stopped := make(chan struct{})
	go func() { x.stop(); close(stopped) }()
	until(t, "the end of the subscription", func() bool { return !x.listened("orders.x") })
	release()
	<-stopped
	if n := len(x.hub.Calls()); n != 300 {
		t.Errorf("%d of 300 messages that had arrived before the stop were queued", n)
	}
}

func TestAMessageThatCannotBeQueuedBeforeTheStopIsReportedLost(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), nil)
	x.ready(t)
	tried := make(chan struct{}, 100)
	x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		tried <- struct{}{}
		return executor.Response{}, errors.New("the store is full")
	})
	if err := x.dial(t).Publish("orders.x", nil); err != nil {
		t.Fatal(err)
	}
	<-tried
	x.stop()
	if x.total("lost") != 1 || !strings.Contains(x.log.String(), "is lost") {
		t.Errorf("%v lost, log %s", x.total("lost"), x.log)
	}
}

func TestAGapIsVisible(t *testing.T) {
	t.Parallel()
	x := start(t, newBroker(t, nil), nil)
	x.ready(t)
	x.broker.stop()
	until(t, "the complaint", func() bool { return strings.Contains(x.log.String(), "can not be reached") })
	x.broker.start()
	x.ready(t)
	until(t, "the end of the gap", func() bool { return strings.Contains(x.log.String(), "were missed") })
	n, err := testutil.GatherAndCount(x.metrics, "millrace_nats_disconnects_total")
	if err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	if c := strings.Count(x.log.String(), "can not be reached"); c != 1 {
		t.Errorf("%d complaints of one outage:\n%s", c, x.log)
	}
}

func TestWaysToAuthenticate(t *testing.T) {
	t.Parallel()
	pair := nkey(t, nkeys.CreateUser)
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "user.nk"), seed, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		server func(*server.Options)
		good   func(*nats.Config)
		bad    func(*nats.Config)
	}{
		"token": {func(o *server.Options) { o.Authorization = "s3cret" },
			func(c *nats.Config) { c.Token = "s3cret" }, func(c *nats.Config) { c.Token = "guess" }},
		"user and password": {func(o *server.Options) { o.Username, o.Password = "u", "p" },
			func(c *nats.Config) { c.Username, c.Password = "u", "p" }, func(c *nats.Config) { c.Username, c.Password = "u", "guess" }},
		"nkey": {func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public(t, pair)}} },
			func(c *nats.Config) { c.NKey = filepath.Join(dir, "user.nk") }, func(*nats.Config) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, c.server)
			x := start(t, b, c.good)
			until(t, "the subscription", func() bool { return b.listened("orders.x") })
			x.stop()
			y := start(t, b, c.bad) // it goes on trying, for the server may be the one to change
			until(t, "the complaint", func() bool { return strings.Contains(y.log.String(), "can not be reached") })
			if strings.Contains(y.log.String(), "guess") {
				t.Errorf("a secret in the log: %s", y.log)
			}
			y.stop()
		})
	}
}

func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	operator, account, user := nkey(t, nkeys.CreateOperator), nkey(t, nkeys.CreateAccount), nkey(t, nkeys.CreateUser)
	accountClaims := jwt.NewAccountClaims(public(t, account))
	accountJWT, err := accountClaims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(public(t, user)).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hub.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(public(t, account), accountJWT); err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, func(o *server.Options) {
		o.TrustedKeys, o.AccountResolver = []string{public(t, operator)}, resolver
	})
	x := start(t, b, func(c *nats.Config) { c.Credentials = file })
	nc := b.dial(t, client.UserCredentials(file))
	until(t, "an answer", func() bool {
		reply, err := nc.Request("orders.x", nil, time.Second)
		return err == nil && string(reply.Data) == "null"
	})
	if len(x.hub.Calls()) == 0 {
		t.Error("someone else has answered")
	}
}

func nkey(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func public(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTLSAtBothEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool, pair := certificate(t, dir)
	b := newBroker(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 5
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	})
	x := start(t, b, func(c *nats.Config) {
		c.TLS = plugin.TLS{CA: filepath.Join(dir, "cert.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ServerName: "nats.test"}
	})
	x.ready(t)
	y := start(t, b, func(c *nats.Config) { c.URLs[0] = strings.Replace(c.URLs[0], "nats://", "tls://", 1) })
	until(t, "the complaint", func() bool { return strings.Contains(y.log.String(), "certificate") })
}

func certificate(t *testing.T, dir string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats.test"}, DNSNames: []string{"nats.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, data := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool, pair
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*nats.Config)
		want   string
	}{
		"good":                 {func(*nats.Config) {}, ""},
		"no server":            {func(c *nats.Config) { c.URLs = nil }, "urls: there is none"},
		"a server of http":     {func(c *nats.Config) { c.URLs = []string{"http://x"} }, "urls[0]: this is not a URL of a NATS server"},
		"a host alone":         {func(c *nats.Config) { c.URLs = []string{"localhost:4222"} }, "urls[0]: this is not a URL"},
		"a password in a URL":  {func(c *nats.Config) { c.URLs = []string{"nats://u:hush@x"} }, "urls[0]: a URL is shown in logs"},
		"no subject":           {func(c *nats.Config) { c.Subjects = nil }, "subjects: there is none"},
		"a blank":              {func(c *nats.Config) { c.Subjects = []string{"a b"} }, `subjects[0]: "a b" is not a subject`},
		"an empty token":       {func(c *nats.Config) { c.Subjects = []string{"a..b"} }, `subjects[0]: "a..b" is not a subject`},
		"half a wildcard":      {func(c *nats.Config) { c.Subjects = []string{"a.b*"} }, `subjects[0]: "a.b*" is not a subject`},
		"> in the middle":      {func(c *nats.Config) { c.Subjects = []string{"a.>.b"} }, `subjects[0]: "a.>.b" is not a subject`},
		"overlap":              {func(c *nats.Config) { c.Subjects = []string{"a.*", "x", "*.b"} }, `subjects[2]: "*.b" overlaps "a.*"`},
		"overlap of all":       {func(c *nats.Config) { c.Subjects = []string{"a", ">"} }, `subjects[1]: ">" overlaps "a"`},
		"no overlap":           {func(c *nats.Config) { c.Subjects = []string{"a.*", "a", "a.*.c.>", "a.b.c"} }, ""},
		"a group with a blank": {func(c *nats.Config) { c.QueueGroup = "a b" }, "queueGroup:"},
		"concurrency":          {func(c *nats.Config) { c.MaximumConcurrency = 0 }, "maximumConcurrency: 0 is not between"},
		"pending messages":     {func(c *nats.Config) { c.PendingMessages = 0 }, "pendingMessages: 0 is not between"},
		"pending bytes":        {func(c *nats.Config) { c.PendingBytes = 1 }, "pendingBytes: 1 is less than 1MB"},
		"half a login":         {func(c *nats.Config) { c.Username = "u" }, "username: username and password go together"},
		"two ways":             {func(c *nats.Config) { c.Token, c.NKey = "t", "k" }, "nkey: token and nkey are different ways"},
		"half a certificate":   {func(c *nats.Config) { c.TLS.Key = "k" }, "tls: certificate and key go together"},
		"a useless CA":         {func(c *nats.Config) { c.TLS.CA, c.TLS.Insecure = "c", true }, "tls.insecure: would make ca useless"},
	} {
		config := nats.Defaults()
		config.Subjects = []string{"orders.>"}
		c.change(&config)
		err := config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: a secret in %v", name, err)
		}
	}
}

func TestFilesThatAreNotThereAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*nats.Config){
		"reading nkey":                        func(c *nats.Config) { c.NKey = "none" },
		"reading tls.ca":                      func(c *nats.Config) { c.TLS.CA = "none" },
		"reading tls.certificate and tls.key": func(c *nats.Config) { c.TLS.Certificate, c.TLS.Key = "none", "none" },
		"reading credentials":                 func(c *nats.Config) { c.Credentials = "none" },
	} {
		spec := nats.Spec()
		config := spec.Config().(*nats.Config)
		change(config)
		_, err := spec.Open(t.Context(), config, plugin.Deps{Name: "n", Dir: t.TempDir(), Metrics: prometheus.NewRegistry()})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// From the publisher to the hub's Accept, 1 KB each.
func BenchmarkPublished(b *testing.B) {
	broker := newBroker(b, nil)
	var accepted atomic.Int64
	source := open(b, plugin.Deps{}, broker, func(c *nats.Config) { c.PendingMessages, c.PendingBytes = 1e6, 4*plugin.GB })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- source.Run(ctx, sources.Hub{Accept: func(context.Context, executor.Request) error { accepted.Add(1); return nil }})
	}()
	until(b, "the subscription", func() bool { return broker.listened("orders.x") })
	nc := broker.dial(b)
	data := make([]byte, 1024)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := nc.Publish("orders.x", data); err != nil {
			b.Fatal(err)
		}
	}
	until(b, "the messages", func() bool { return accepted.Load() == int64(b.N) })
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
