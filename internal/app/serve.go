package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/api/admin"
	"github.com/millrace/millrace/api/lambdaapi"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/stack"
)

// Options say how a hub runs.
type Options struct {
	File    string       // path of the file
	Version string       // of the program
	Log     *slog.Logger // the hub's own log
	Output  io.Writer    // what functions write to their logs; safe for concurrent use
	Clock   clock.Clock

	Reload <-chan struct{} // each value makes the hub read its file again
	Watch  bool            // so does a change of the file, or of one that it includes

	// Ready, if set, is called once when the hub answers, with what it serves.
	Ready func(Serving)
}

// Serving is what a running hub answers to.
type Serving struct {
	Gateway, AWS, Admin string // URLs; "" is off
	Status              admin.Status
}

// Serve runs a hub until ctx is done, then stops it in order: what it has taken ends first, for at most the
// file's shutdown.timeout, and what is cut off then is tried again after the next start. When hard is done
// nothing is waited for any more. The error is nil if the hub stopped as it should.
func Serve(ctx, hard context.Context, c *config.Config, o Options) error {
	h, err := open(ctx, c, o)
	if err != nil {
		return err
	}
	s, err := h.listen(ctx)
	if err != nil {
		h.abandon()
		return err
	}

	workers, stopWorker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorker()
	workerDone := make(chan error, 1)
	go func() { workerDone <- h.worker.Run(workers) }()
	s.serve()
	h.startTriggers(ctx)
	stopWatching := h.watch(o)
	h.ready.Store(true)
	if o.Ready != nil {
		o.Ready(s.serving(h))
	}

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-s.failed:
		h.log.Error("stopping: a listener failed", "error", failed)
	case failed = <-workerDone:
		failed = fmt.Errorf("the queue's worker stopped by itself: %w", failed)
		h.log.Error("stopping: the queue's worker failed", "error", failed)
		workerDone <- nil
	}

	// Stages of the stop, in order: each ends what depends on those below it.
	h.ready.Store(false)
	stopWatching()
	errs := []error{failed}
	stage := func(name string, f func(context.Context) error) {
		began := h.clock.Now()
		ctx, cancel := clock.WithTimeout(hard, h.clock, c.Shutdown.Timeout)
		defer cancel()
		err := f(ctx)
		h.log.Debug("stage of the stop has ended", "stage", name, "duration", h.clock.Now().Sub(began), "error", err)
		if err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", name, err))
		}
	}
	stage("sources", func(ctx context.Context) error {
		h.gateway.stop() // what still arrives on an open connection is told to go elsewhere
		front := make(chan error, 1)
		go func() { front <- s.stopFront(ctx) }()
		return errors.Join(h.stopTriggers(ctx), <-front)
	})
	stage("stack", h.closeStack)
	stage("queue", func(ctx context.Context) error {
		stopWorker()
		select {
		case err := <-workerDone:
			return err
		case <-ctx.Done():
			// Attempts that are cut off do not count. Run then ends soon; it must not outlive the store.
			err := h.closeFunctions(ctx)
			return errors.Join(err, <-workerDone)
		}
	})
	stage("destinations", h.closeDestinations)
	stage("functions", h.closeFunctions)
	stage("store", func(context.Context) error { return h.store.Close() })
	stage("traces", h.tracing.close)
	stage("admin", s.stopAdmin)
	return errors.Join(errs...)
}

// servers are the hub's listeners. Each is bound before anything starts, so that a taken port is an error of
// the start, and serves only once the hub is whole.
type servers struct {
	gateway, aws, admin *server
	failed              chan error
}

type server struct {
	http.Server
	listener net.Listener
	tls      bool
}

func (h *hub) listen(ctx context.Context) (_ *servers, err error) {
	c := h.config
	s := &servers{failed: make(chan error, 3)}
	defer func() {
		if err != nil {
			for _, x := range []*server{s.gateway, s.aws, s.admin} {
				if x != nil {
					x.listener.Close()
				}
			}
		}
	}()
	cert, err := certificate(c)
	if err != nil {
		return nil, err
	}
	if s.gateway, err = h.bind(ctx, "gateway", c.Listen.Gateway, nil, h.gateway); err != nil {
		return nil, err
	}
	if s.aws, err = h.bind(ctx, "aws", c.Listen.AWS, cert, h.awsAPI()); err != nil {
		return nil, err
	}
	s.admin, err = h.bind(ctx, "admin", c.Listen.Admin, cert, h.adminAPI(s))
	return s, err
}

// certificate is what the aws and admin addresses show, nil without TLS.
func certificate(c *config.Config) (*tls.Config, error) {
	if c.Security.TLS.Certificate == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	pair, err := tls.LoadX509KeyPair(c.Path(c.Security.TLS.Certificate), c.Path(c.Security.TLS.Key))
	if err != nil {
		return nil, fmt.Errorf("reading security.tls: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (h *hub) bind(ctx context.Context, name, address string, cert *tls.Config, handler http.Handler) (*server, error) {
	if address == "" || address == "off" {
		return nil, nil //nolint:nilnil // off is no error
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for %s: %w; another hub may be running, or set listen.%s to another address", name, err, name)
	}
	s := &server{listener: l, tls: cert != nil}
	if name == "aws" {
		s.Protocols = stack.Protocols()
	}
	s.Handler = handler
	s.TLSConfig = cert
	s.ReadHeaderTimeout = 10 * time.Second
	s.IdleTimeout = 2 * time.Minute
	s.MaxHeaderBytes = 1 << 20
	s.ErrorLog = slog.NewLogLogger(h.log.With("listener", name).Handler(), slog.LevelDebug)
	return s, nil
}

func (s *servers) serve() {
	for _, x := range []*server{s.gateway, s.aws, s.admin} {
		if x == nil {
			continue
		}
		go func() {
			var err error
			if x.tls {
				err = x.ServeTLS(x.listener, "", "")
			} else {
				err = x.Serve(x.listener)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				s.failed <- err
			}
		}()
	}
}

func (x *server) url() string {
	switch {
	case x == nil:
		return ""
	case x.tls:
		return "https://" + x.listener.Addr().String()
	default:
		return "http://" + x.listener.Addr().String()
	}
}

// stop lets requests under way end until ctx is done, then cuts them off.
func (x *server) stop(ctx context.Context) error {
	if x == nil {
		return nil
	}
	if err := x.Shutdown(ctx); err != nil {
		x.Close() //nolint:errcheck // the error that matters is Shutdown's
		return fmt.Errorf("requests under way were cut off: %w", context.Cause(ctx))
	}
	return nil
}

func (s *servers) stopFront(ctx context.Context) error {
	return errors.Join(s.gateway.stop(ctx), s.aws.stop(ctx))
}

func (s *servers) stopAdmin(ctx context.Context) error { return s.admin.stop(ctx) }

func (s *servers) serving(h *hub) Serving {
	return Serving{Gateway: s.gateway.url(), AWS: s.aws.url(), Admin: s.admin.url(), Status: h.status(s)}
}

// keys are those that the aws address takes, nil if it takes any request.
func keys(c *config.Config) map[string]string {
	var keys map[string]string
	for id, secret := range c.Security.Keys {
		if keys == nil {
			keys = map[string]string{}
		}
		keys[id] = string(secret)
	}
	return keys
}

func (h *hub) lambdaAPI() http.Handler {
	return lambdaapi.New(lambdaapi.Options{
		Function: func(name string) (executor.Function, lambdaapi.Info, bool) {
			f, ok := h.functions.get(name)
			if !ok {
				return nil, lambdaapi.Info{}, false
			}
			return named{name, h.functions}, f.info, true
		},
		Accept: func(ctx context.Context, name string, req executor.Request) error {
			return h.accept(ctx, "", name, req, 0)
		},
		Names: func() []string {
			names := []string{}
			for _, f := range h.functions.all() {
				names = append(names, f.name)
			}
			slices.Sort(names)
			return names
		},
		Concurrency: h.config.Concurrency,
		Region:      h.config.AWS.Region, Account: h.config.AWS.Account, Keys: keys(h.config),
		Clock: h.clock, Log: h.log.With("part", "lambda-api"), Metrics: h.metrics,
	})
}

func (h *hub) adminAPI(s *servers) http.Handler {
	return admin.New(admin.Options{
		Ledger: h.worker, Health: h.health, Status: func() admin.Status { return h.status(s) }, Reload: h.reload,
		Metrics: promhttp.HandlerFor(h.metrics, promhttp.HandlerOpts{}),
		Token:   h.config.Security.Token, Clock: h.clock, Log: h.log.With("part", "admin"),
	})
}
