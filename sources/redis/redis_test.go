package redis_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	client "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
	"github.com/millrace/millrace/sources/redis"
	"github.com/millrace/millrace/sources/sourcetest"
	"github.com/millrace/millrace/test/services"
)

func TestMain(m *testing.M) {
	// The first source to be opened silences the client, before the tests use clients of their own.
	spec := redis.Spec()
	if _, err := spec.Open(context.Background(), spec.Config(), plugin.Deps{Metrics: prometheus.NewRegistry()}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// server is a Redis that can be stopped and started at one address.
type server interface {
	addr() string
	start(testing.TB)
	stop(testing.TB)
}

type mini struct {
	*miniredis.Miniredis
	address string // which the server forgets while it is stopped
}

func newMini(t testing.TB) server {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return mini{m, m.Addr()}
}

func (m mini) addr() string    { return m.address }
func (m mini) stop(testing.TB) { m.Close() }
func (m mini) start(t testing.TB) {
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
}

// process is a real redis-server.
type process struct {
	port string
	args []string
	dir  string
	mu   sync.Mutex
	cmd  *exec.Cmd
}

func newProcess(t testing.TB, args ...string) *process {
	t.Helper()
	services.Need(t, "redis-server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	p := &process{port: port, args: args, dir: t.TempDir()}
	p.start(t)
	t.Cleanup(func() { p.stop(t) })
	return p
}

func (p *process) addr() string { return "127.0.0.1:" + p.port }

func (p *process) start(t testing.TB) {
	t.Helper()
	args := append([]string{"--port", p.port, "--bind", "127.0.0.1", "--save", "", "--dir", p.dir, "--notify-keyspace-events", "KEA"}, p.args...)
	p.mu.Lock()
	p.cmd = exec.Command("redis-server", args...)
	p.mu.Unlock()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "redis-server to start", func() bool {
		return ask(p, func(ctx context.Context, c *client.Client) error {
			err := c.Ping(ctx).Err()
			if err != nil && strings.Contains(err.Error(), "NOAUTH") {
				return nil
			}
			return err
		}) == nil
	})
}

func (p *process) stop(testing.TB) {
	p.mu.Lock()
	cmd := p.cmd
	p.cmd = nil
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// ask uses a connection of its own.
func ask(s server, f func(context.Context, *client.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c := client.NewClient(&client.Options{Addr: s.addr(), MaxRetries: -1, DialerRetries: 1})
	defer c.Close()
	return f(ctx, c)
}

func publish(s server, channel, data string) error {
	return ask(s, func(ctx context.Context, c *client.Client) error { return c.Publish(ctx, channel, data).Err() })
}

// subscribers is how many connections are subscribed to a channel.
func subscribers(s server, channel string) int64 {
	var n int64
	_ = ask(s, func(ctx context.Context, c *client.Client) error {
		m, err := c.PubSubNumSub(ctx, channel).Result()
		n = m[channel]
		return err
	})
	return n
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := clock.WithTimeout(context.Background(), clock.System{}, 20*time.Second)
	defer cancel()
	for !ok() {
		if clock.Sleep(ctx, clock.System{}, 2*time.Millisecond) != nil {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// bench is a running source and all around it.
type bench struct {
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

func open(t testing.TB, d plugin.Deps, addr string, change func(*redis.Config)) sources.Source {
	t.Helper()
	spec := redis.Spec()
	config := spec.Config().(*redis.Config)
	config.Addresses, config.Channels = []string{addr}, []string{"orders"}
	if change != nil {
		change(config)
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	d.Name, d.Region, d.Account = "orders", "us-east-1", "123456789012"
	if d.Clock == nil {
		d.Clock = clock.System{}
	}
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

func start(t *testing.T, addr string, change func(*redis.Config)) *bench {
	t.Helper()
	return startAt(t, addr, clock.System{}, change)
}

func startAt(t *testing.T, addr string, clk clock.Clock, change func(*redis.Config)) *bench {
	t.Helper()
	x := &bench{hub: sourcetest.NewHub(t), metrics: prometheus.NewRegistry(), log: &logged{}}
	source := open(t, plugin.Deps{Clock: clk, Metrics: x.metrics, Log: slog.New(slog.NewTextHandler(x.log, nil))}, addr, change)
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

// connections is the value of millrace_redis_connections.
func (x *bench) connections() float64 {
	return testutil.ToFloat64(plugin.Register(x.metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_redis_connections",
		Help: "Connections on which the trigger is subscribed: one, and one for each sharded channel.",
	}, []string{"trigger"})).WithLabelValues("orders"))
}

func (x *bench) ready(t testing.TB, connections float64) {
	t.Helper()
	until(t, "the subscription", func() bool { return x.connections() == connections })
}

// total is the value of a result in millrace_redis_messages_total.
func (x *bench) total(result string) float64 {
	return testutil.ToFloat64(plugin.Register(x.metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_redis_messages_total",
		Help: "Messages of Redis channels by result: accepted, refused, dropped or lost.",
	}, []string{"trigger", "result"})).WithLabelValues("orders", result))
}

type record struct {
	EventSource    string
	EventSourceARN string
	Channel        string
	Pattern        string
	Timestamp      int64
	Data           []byte
}

func (x *bench) records(t testing.TB) []record {
	t.Helper()
	var all []record
	for _, c := range x.hub.Calls() {
		var d struct{ Records []record }
		if err := json.Unmarshal(c.Payload, &d); err != nil {
			t.Fatalf("%v: %s", err, c.Payload)
		}
		if c.Invoked {
			t.Error("a message was not queued")
		}
		all = append(all, d.Records...)
	}
	return all
}

func TestConformance(t *testing.T) {
	for name, make := range map[string]func(testing.TB) server{
		"miniredis":    newMini,
		"redis-server": func(t testing.TB) server { return newProcess(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Run(t, func(t testing.TB) sourcetest.Upstream {
				s := make(t)
				return sourcetest.Upstream{
					Open:        func(t testing.TB) sources.Source { return open(t, plugin.Deps{}, s.addr(), nil) },
					Put:         func(_ context.Context, id string) error { return publish(s, "orders", id) },
					Ready:       func() bool { return subscribers(s, "orders") > 0 },
					Redelivers:  true,
					Concurrency: 32,
					Stop:        s.stop,
					Start:       s.start,
				}
			})
		})
	}
}

func TestMessagesBecomeDocuments(t *testing.T) {
	t.Parallel()
	s := newMini(t)
	x := start(t, s.addr(), func(c *redis.Config) { c.Patterns = []string{"price.*"} })
	x.ready(t, 1)
	for channel, data := range map[string]string{"orders": "\x00\xff\"", "price.chf": "1.04", "other": "x"} {
		if err := publish(s, channel, data); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the messages", func() bool { return len(x.hub.Calls()) == 2 })
	for _, r := range x.records(t) {
		want := record{EventSource: "millrace:redis", EventSourceARN: "arn:millrace:redis:us-east-1:123456789012:orders", Channel: "orders", Timestamp: r.Timestamp, Data: []byte("\x00\xff\"")}
		if r.Channel != "orders" {
			want.Channel, want.Pattern, want.Data = "price.chf", "price.*", []byte("1.04")
		}
		if fmt.Sprint(r) != fmt.Sprint(want) || r.Timestamp == 0 {
			t.Errorf("record %+v, want %+v", r, want)
		}
	}
	if x.total("accepted") != 2 {
		t.Errorf("%v accepted", x.total("accepted"))
	}
}

func TestKeyspaceNotifications(t *testing.T) {
	t.Parallel()
	s := newProcess(t)
	x := start(t, s.addr(), func(c *redis.Config) {
		c.Channels, c.Patterns = []string{"__keyevent@0__:expired"}, []string{"__keyspace@0__:cart:*"}
	})
	x.ready(t, 1)
	if err := ask(s, func(ctx context.Context, c *client.Client) error {
		return c.Set(ctx, "cart:7", "x", 5*time.Millisecond).Err()
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "set, expire, and expired both ways", func() bool { return len(x.hub.Calls()) == 4 })
	seen := map[string]bool{}
	for _, r := range x.records(t) {
		seen[r.Channel+" "+string(r.Data)] = true
	}
	for _, want := range []string{"__keyspace@0__:cart:7 set", "__keyspace@0__:cart:7 expired", "__keyevent@0__:expired cart:7"} {
		if !seen[want] {
			t.Errorf("no %q in %v", want, seen)
		}
	}
}

func TestShardedChannels(t *testing.T) {
	t.Parallel()
	s := newProcess(t, "--cluster-enabled", "yes")
	if err := ask(s, func(ctx context.Context, c *client.Client) error { return c.ClusterAddSlotsRange(ctx, 0, 16383).Err() }); err != nil {
		t.Fatal(err)
	}
	x := start(t, s.addr(), func(c *redis.Config) { c.Mode, c.ShardedChannels = "cluster", []string{"a", "b"} })
	x.ready(t, 3)
	for _, channel := range []string{"a", "b"} {
		if err := ask(s, func(ctx context.Context, c *client.Client) error { return c.SPublish(ctx, channel, "sharded").Err() }); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(s, "orders", "plain"); err != nil {
		t.Fatal(err)
	}
	until(t, "three messages", func() bool { return len(x.hub.Calls()) == 3 })
	x.stop()
	if n := len(x.records(t)); n != 3 {
		t.Errorf("%d messages", n)
	}
}

func TestSentinelsTellTheMaster(t *testing.T) {
	t.Parallel()
	s := newProcess(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	const user = "user watcher on >password allcommands\nuser default off\n"
	if err := os.WriteFile(file, fmt.Appendf(nil, user+"sentinel monitor mymaster 127.0.0.1 %s 1\n", s.port), 0o600); err != nil {
		t.Fatal(err)
	}
	watcher := newSentinel(t, file)
	x := start(t, watcher.addr(), func(c *redis.Config) {
		c.Mode, c.MasterName, c.SentinelUsername, c.SentinelPassword = "sentinel", "mymaster", "watcher", "password"
	})
	x.ready(t, 1)
	if err := publish(s, "orders", "x"); err != nil {
		t.Fatal(err)
	}
	until(t, "the message", func() bool { return len(x.hub.Calls()) == 1 })
}

func newSentinel(t *testing.T, file string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	p := &process{port: port, cmd: exec.Command("redis-server", file, "--sentinel", "--port", port, "--bind", "127.0.0.1")}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t) })
	until(t, "the sentinel", func() bool {
		err := ask(p, func(ctx context.Context, c *client.Client) error { return c.Ping(ctx).Err() })
		return err == nil || strings.Contains(err.Error(), "NOAUTH")
	})
	return p
}

func TestWhatIsAboveTheLimitsIsDroppedAndCounted(t *testing.T) {
	t.Parallel()
	s := newMini(t)
	x := start(t, s.addr(), func(c *redis.Config) { c.MaximumConcurrency, c.PendingMessages = 1, 5 })
	x.ready(t, 1)
	busy, gate := make(chan struct{}, 100), make(chan struct{})
	x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		busy <- struct{}{}
		<-gate
		return executor.Response{}, nil
	})
	if err := publish(s, "orders", "first"); err != nil {
		t.Fatal(err)
	}
	<-busy // and now one more leaves the line and waits for its place
	for range 20 {
		if err := publish(s, "orders", "x"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "20 messages to be dropped or in line", func() bool { return x.total("dropped") >= 14 })
	close(gate)
	until(t, "the rest", func() bool { return x.total("accepted")+x.total("dropped") == 21 })
	if kept := x.total("accepted"); kept < 6 || kept > 7 {
		t.Errorf("%v of 21 messages kept, want the 5 that may wait and the one or two that do not", kept)
	}
	if n := strings.Count(x.log.String(), "messages come faster"); n != 1 {
		t.Errorf("%d complaints:\n%s", n, x.log)
	}
}

func TestMessagesKeepTheirOrderOneAtATime(t *testing.T) {
	t.Parallel()
	s := newMini(t)
	x := start(t, s.addr(), func(c *redis.Config) { c.MaximumConcurrency = 1 })
	x.ready(t, 1)
	if err := ask(s, func(ctx context.Context, c *client.Client) error {
		for i := range 300 {
			if err := c.Publish(ctx, "orders", i).Err(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "all messages", func() bool { return len(x.hub.Calls()) == 300 })
	for i, r := range x.records(t) {
		if string(r.Data) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, r.Data)
		}
	}
}

// Whatever was published before the stop, and so is on its way at the latest, is queued.
func TestStoppingTakesWhatWasPublishedBefore(t *testing.T) {
	t.Parallel()
	s := newProcess(t)
	x := start(t, s.addr(), func(c *redis.Config) { c.MaximumConcurrency = 4 })
	x.ready(t, 1)
	if err := ask(s, func(ctx context.Context, c *client.Client) error {
		_, err := c.Pipelined(ctx, func(p client.Pipeliner) error {
			for i := range 2000 {
				p.Publish(ctx, "orders", i)
			}
			return nil
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	x.stop()
	if n := len(x.hub.Calls()); n != 2000 {
		t.Errorf("%d of 2000 messages", n)
	}
}

func TestRefusedAndLostMessagesAreReported(t *testing.T) {
	t.Parallel()
	s := newMini(t)
	x := start(t, s.addr(), nil)
	x.ready(t, 1)
	x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		return executor.Response{}, &executor.Error{Kind: executor.TooLarge, Function: "f", Err: errors.New("over 1 MB")}
	})
	if err := publish(s, "orders", strings.Repeat("x", 2<<20)); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal", func() bool { return x.total("refused") == 1 })
	tried := make(chan struct{}, 100)
	x.hub.Script(func(context.Context, sourcetest.Call) (executor.Response, error) {
		tried <- struct{}{}
		return executor.Response{}, errors.New("the store is full")
	})
	if err := publish(s, "orders", "x"); err != nil {
		t.Fatal(err)
	}
	<-tried
	x.stop()
	if x.total("lost") != 1 || !strings.Contains(x.log.String(), "is lost") || !strings.Contains(x.log.String(), "over 1 MB") {
		t.Errorf("%v lost, log %s", x.total("lost"), x.log)
	}
}

func TestAGapIsVisible(t *testing.T) {
	t.Parallel()
	s := newMini(t)
	x := start(t, s.addr(), nil)
	x.ready(t, 1)
	s.stop(t)
	until(t, "the complaint", func() bool { return strings.Contains(x.log.String(), "not subscribed to Redis") })
	x.ready(t, 0)
	s.start(t)
	x.ready(t, 1)
	until(t, "the end of the gap", func() bool { return strings.Contains(x.log.String(), "were missed") })
	if c := strings.Count(x.log.String(), "not subscribed"); c != 1 {
		t.Errorf("%d complaints of one outage:\n%s", c, x.log)
	}
	n := testutil.ToFloat64(plugin.Register(x.metrics, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_redis_disconnects_total",
		Help: "Lost subscriptions to Redis; messages published until the next one were missed.",
	}, []string{"trigger"})).WithLabelValues("orders"))
	if n != 1 {
		t.Errorf("%v disconnects counted", n)
	}
}

// A server that has gone without a word is noticed by its silence.
func TestASilentConnectionIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newMini(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mute atomic.Bool
	var accepted atomic.Int64
	var busy sync.WaitGroup
	done := make(chan struct{})
	busy.Go(func() { // a proxy that swallows all it gets once it is mute
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			out, err := net.Dial("tcp", s.addr())
			if err != nil {
				in.Close()
				continue
			}
			busy.Go(func() { <-done; in.Close(); out.Close() })
			pipe := func(to, from net.Conn) {
				buf := make([]byte, 4096)
				for {
					n, err := from.Read(buf)
					if err != nil {
						to.Close()
						return
					}
					if !mute.Load() {
						to.Write(buf[:n])
					}
				}
			}
			busy.Go(func() { pipe(in, out) })
			busy.Go(func() { pipe(out, in) })
		}
	})
	t.Cleanup(func() { l.Close(); close(done); busy.Wait() })
	clk := clock.NewManual(time.Unix(1e9, 0))
	x := startAt(t, l.Addr().String(), clk, nil)
	x.ready(t, 1)
	until(t, "the watch", func() bool { return clk.Timers() > 0 })
	mute.Store(true)
	for range 3 {
		until(t, "the watch, or its end", func() bool { return clk.Timers() > 0 || x.connections() == 0 })
		clk.Advance(15 * time.Second)
	}
	x.ready(t, 0)
	mute.Store(false)
	until(t, "the next connection", func() bool { clk.Advance(time.Second); return x.connections() == 1 })
	if !strings.Contains(x.log.String(), "not subscribed") {
		t.Errorf("log %s", x.log)
	}
}

func TestWaysToConnect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pool, pair := certificate(t, dir)
	for name, c := range map[string]struct {
		config    *tls.Config
		auth      func(*miniredis.Miniredis)
		good, bad func(*redis.Config)
	}{
		"password": {nil, func(m *miniredis.Miniredis) { m.RequireAuth("p") },
			func(c *redis.Config) { c.Password = "p" }, func(c *redis.Config) { c.Password = "guess" }},
		"user and password": {nil, func(m *miniredis.Miniredis) { m.RequireUserAuth("u", "p") },
			func(c *redis.Config) { c.Username, c.Password = "u", "p" }, func(c *redis.Config) { c.Username, c.Password = "u", "guess" }},
		"TLS at both ends": {&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, func(*miniredis.Miniredis) {},
			func(c *redis.Config) {
				c.UseTLS = true
				c.TLS = plugin.TLS{CA: filepath.Join(dir, "cert.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ServerName: "redis.test"}
			}, func(c *redis.Config) { c.UseTLS = true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := miniredis.NewMiniRedis()
			c.auth(m)
			start1 := m.Start
			if c.config != nil {
				start1 = func() error { return m.StartTLS(c.config) }
			}
			if err := start1(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.Close)
			x := start(t, m.Addr(), c.good)
			x.ready(t, 1)
			x.stop()
			y := start(t, m.Addr(), c.bad) // it goes on trying, for the server may be the one to change
			until(t, "the complaint", func() bool { return strings.Contains(y.log.String(), "not subscribed") })
			if strings.Contains(y.log.String(), "guess") {
				t.Errorf("a secret in the log: %s", y.log)
			}
			y.stop()
		})
	}
}

func certificate(t *testing.T, dir string) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"redis.test"},
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
		change func(*redis.Config)
		want   string
	}{
		"good":                   {func(*redis.Config) {}, ""},
		"a mode":                 {func(c *redis.Config) { c.Mode = "ring" }, `mode: "ring" is none of`},
		"two standalone servers": {func(c *redis.Config) { c.Addresses = []string{"a:1", "b:1"} }, "addresses: a standalone server has one address, not 2"},
		"no address":             {func(c *redis.Config) { c.Mode, c.Addresses = "cluster", nil }, "addresses: there is none"},
		"a URL":                  {func(c *redis.Config) { c.Addresses = []string{"redis://x:1"} }, `addresses[0]: "redis://x:1" is not host:port`},
		"no master":              {func(c *redis.Config) { c.Mode = "sentinel" }, "masterName: set the name"},
		"a useless master":       {func(c *redis.Config) { c.MasterName = "m" }, "masterName: this and"},
		"a cluster's database":   {func(c *redis.Config) { c.Mode, c.Database = "cluster", 1 }, "database: a cluster has database 0 only"},
		"a database":             {func(c *redis.Config) { c.Database = -1 }, "database: -1 is not"},
		"keyspace of a cluster":  {func(c *redis.Config) { c.Mode, c.Patterns = "cluster", []string{"x", "__key*__:*"} }, "patterns[1]: each node of a cluster"},
		"nothing to subscribe":   {func(c *redis.Config) { c.Channels = nil }, "channels: there is neither"},
		"a channel twice":        {func(c *redis.Config) { c.Channels = []string{"a", "a"} }, `channels[1]: "a" is there twice`},
		"an empty pattern":       {func(c *redis.Config) { c.Patterns = []string{""} }, "patterns[0]: this is empty"},
		"half a login":           {func(c *redis.Config) { c.Username = "u" }, "username: a user needs a password"},
		"useless TLS":            {func(c *redis.Config) { c.TLS.CA = "x" }, "tls: has no effect without useTLS"},
		"half a certificate":     {func(c *redis.Config) { c.UseTLS, c.TLS.Key = true, "k" }, "tls: certificate and key go together"},
		"concurrency":            {func(c *redis.Config) { c.MaximumConcurrency = 0 }, "maximumConcurrency: 0 is not between"},
		"pending messages":       {func(c *redis.Config) { c.PendingMessages = 0 }, "pendingMessages: 0 is not between"},
		"pending bytes":          {func(c *redis.Config) { c.PendingBytes = 1 }, "pendingBytes: 1 is less than 1MB"},
	} {
		config := redis.Defaults()
		config.Channels = []string{"orders"}
		c.change(&config)
		err := config.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
