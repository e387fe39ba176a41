package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// ALB configures an Application Load Balancer with a Lambda target. Unlike the other doors it hands the whole
// path to the function: its path is a condition of a listener rule.
type ALB struct {
	Mount `yaml:",inline"`
	// TargetGroupARN is requestContext.elb.targetGroupArn of the document. Empty makes one up from the
	// trigger's name.
	TargetGroupARN string `yaml:"targetGroupArn"`
	// MultiValueHeaders is the target group's attribute lambda.multi_value_headers.enabled: headers and
	// query parameters have lists of values, in the document and in the answer. Without it the last value
	// of each name counts.
	MultiValueHeaders bool `yaml:"multiValueHeaders"`
	// HealthCheck invokes the function at intervals. As on AWS requests go to the function even while it is
	// unhealthy, because it is the only target; the state is logged and exported.
	HealthCheck HealthCheck `yaml:"healthCheck"`
}

// HealthCheck is the health check of a target group.
type HealthCheck struct {
	// Enabled turns the health check on; it is off by default, since each check is an invocation.
	Enabled bool `yaml:"enabled"`
	// Path is the path, with a query if need be, of the document.
	Path string `yaml:"path"`
	// Interval is the time from check to check, from 5 s to 5 minutes.
	Interval time.Duration `yaml:"interval"`
	// Timeout is the time in which the function must answer, from 2 s to 2 minutes.
	Timeout time.Duration `yaml:"timeout"`
	// HealthyThresholdCount is how many checks in a row must succeed before an unhealthy target is healthy,
	// from 2 to 10.
	HealthyThresholdCount int `yaml:"healthyThresholdCount"`
	// UnhealthyThresholdCount is how many checks in a row must fail before the target is unhealthy, from 2
	// to 10.
	UnhealthyThresholdCount int `yaml:"unhealthyThresholdCount"`
	// Matcher are the statuses of a healthy answer: "200", "200,202" or "200-299".
	Matcher string `yaml:"matcher"`
}

// ALBDefaults is the configuration of a load balancer whose section is empty.
func ALBDefaults() ALB {
	return ALB{
		Mount: mountDefaults(plugin.MB, time.Minute),
		HealthCheck: HealthCheck{
			Path: "/", Interval: 35 * time.Second, Timeout: 30 * time.Second,
			HealthyThresholdCount: 5, UnhealthyThresholdCount: 2, Matcher: "200",
		},
	}
}

// Validate reports every setting that can not be kept.
func (c *ALB) Validate() error {
	errs := c.validate()
	bad := func(path, format string, args ...any) { errs = append(errs, plugin.Invalid(path, format, args...)) }
	h := &c.HealthCheck
	if !strings.HasPrefix(h.Path, "/") {
		bad("healthCheck.path", "%q must begin with a slash", h.Path)
	}
	if h.Interval < 5*time.Second || h.Interval > 5*time.Minute {
		bad("healthCheck.interval", "%s is out of range; write a duration from 5s to 5m", h.Interval)
	}
	if h.Timeout < 2*time.Second || h.Timeout > 2*time.Minute || h.Timeout > h.Interval {
		bad("healthCheck.timeout", "%s is out of range; write a duration from 2s to 2m, and no longer than interval", h.Timeout)
	}
	for path, n := range map[string]int{"healthCheck.healthyThresholdCount": h.HealthyThresholdCount, "healthCheck.unhealthyThresholdCount": h.UnhealthyThresholdCount} {
		if n < 2 || n > 10 {
			bad(path, "%d is out of range; write a number from 2 to 10", n)
		}
	}
	if _, err := parseMatcher(h.Matcher); err != nil {
		bad("healthCheck.matcher", "%v", err)
	}
	return errors.Join(errs...)
}

// parseMatcher reads "200,202-299" as pairs of first and last status.
func parseMatcher(text string) ([][2]int, error) {
	var ranges [][2]int
	for part := range strings.SplitSeq(text, ",") {
		lo, hi, found := strings.Cut(part, "-")
		if !found {
			hi = lo
		}
		a, err1 := strconv.Atoi(lo)
		b, err2 := strconv.Atoi(hi)
		if err1 != nil || err2 != nil || a < 200 || b > 499 || a > b {
			return nil, fmt.Errorf(`%q is not a list of statuses from 200 to 499; write one such as "200", "200,202" or "200-299"`, text)
		}
		ranges = append(ranges, [2]int{a, b})
	}
	return ranges, nil
}

type loadBalancer struct {
	*door
	arn   string
	multi bool
}

// maxALBAnswer is the largest answer of a Lambda target in bytes.
const maxALBAnswer = 1 << 20

func openALB(_ context.Context, c ALB, d plugin.Deps) (sources.Source, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	arn := c.TargetGroupARN
	if arn == "" {
		arn = fmt.Sprintf("arn:%s:elasticloadbalancing:%s:%s:targetgroup/%s/%s", partition(d.Region), d.Region, d.Account, d.Name, identifier(d.Name, 16))
	}
	s := &source{patterns: c.Patterns(), handler: func(hub sources.Hub) (http.Handler, error) {
		format := event.AnswerALB
		if c.MultiValueHeaders {
			format = event.AnswerALBMulti
		}
		l := &loadBalancer{arn: arn, multi: c.MultiValueHeaders}
		l.door = newDoor(d, c.Mount, hub, format, l)
		l.maxHeaders, l.maxAnswer = 64<<10, maxALBAnswer
		l.prefix = ""
		return l, nil
	}}
	if c.HealthCheck.Enabled {
		s.run = func(ctx context.Context, hub sources.Hub) { checkHealth(ctx, c, d, arn, hub) }
	}
	return s, nil
}

func (l *loadBalancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := l.begin(w, r)
	defer l.end(x)
	if !x.admit() || !x.read() {
		return
	}
	x.req.TargetGroupARN = l.arn
	x.req.Path = x.path
	x.req.Base64 = len(x.body) > 0 && !x.textBody()
	x.doc = event.AppendALB(x.doc[:0], &x.req, l.multi)
	x.invoke()
}

func (l *loadBalancer) decorate(*exchange, http.Header) {}

func (l *loadBalancer) fail(x *exchange, f fault) {
	status := http.StatusBadGateway
	switch f {
	case badRequest, headersTooLarge:
		status = http.StatusBadRequest
	case bodyTimeout:
		status = http.StatusRequestTimeout
	case tooLarge:
		status = http.StatusRequestEntityTooLarge
	case upgradeRefused:
		status = http.StatusNotImplemented
	case throttled:
		status = http.StatusTooManyRequests
	case unavailable:
		status = http.StatusServiceUnavailable
	case internal:
		status = http.StatusInternalServerError
	case timedOut:
		status = http.StatusGatewayTimeout
	default: // what the function did wrong
	}
	x.set("Server", "awselb/2.0")
	line := strconv.Itoa(status) + " " + http.StatusText(status)
	x.respond(status, "text/html", "<html>\r\n<head><title>"+line+"</title></head>\r\n<body>\r\n<center><h1>"+line+"</h1></center>\r\n</body>\r\n</html>\r\n")
}

// checkHealth sends health checks until ctx is done.
func checkHealth(ctx context.Context, c ALB, d plugin.Deps, arn string, hub sources.Hub) {
	h := c.HealthCheck
	gauge := plugin.Register(d.Metrics, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_alb_target_healthy", Help: "Whether the Lambda target of a load balancer passes its health check: 1 or 0.",
	}, []string{"trigger"})).WithLabelValues(d.Name)
	matcher, err := parseMatcher(h.Matcher)
	if err != nil {
		return // Validate has refused it
	}
	path, query, _ := strings.Cut(h.Path, "?")
	req := event.HTTPRequest{
		Method: http.MethodGet, Path: path, RawQuery: query, TargetGroupARN: arn,
		Headers: []event.Field{{Name: "User-Agent", Value: "ELB-HealthChecker/2.0"}},
	}
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, _ := strings.Cut(pair, "="); pair != "" {
			req.Query = append(req.Query, event.Field{Name: name, Value: value})
		}
	}
	slices.SortStableFunc(req.Query, byName)
	doc := event.AppendALB(nil, &req, c.MultiValueHeaders)
	format := event.AnswerALB
	if c.MultiValueHeaders {
		format = event.AnswerALBMulti
	}
	// A target is unhealthy until its first check has succeeded.
	healthy, first, run := false, true, 0
	gauge.Set(0)
	var answer event.HTTPAnswer
	for {
		tctx, cancel := clock.WithTimeout(ctx, d.Clock, h.Timeout)
		resp, err := hub.Invoke(tctx, executor.Request{ID: uuid.NewString(), Payload: doc})
		cancel()
		if ctx.Err() != nil {
			return
		}
		why := ""
		switch {
		case err != nil:
			why = err.Error()
		case resp.Failure != nil:
			why = resp.Failure.Type + ": " + resp.Failure.Message
		default:
			if err := answer.Read(resp.Payload, format); err != nil {
				why = err.Error()
			} else if !slices.ContainsFunc(matcher, func(r [2]int) bool { return r[0] <= answer.Status && answer.Status <= r[1] }) {
				why = "status " + strconv.Itoa(answer.Status)
			}
		}
		if ok := why == ""; ok == healthy {
			run = 0
		} else if run++; ok && (first || run >= h.HealthyThresholdCount) || !ok && run >= h.UnhealthyThresholdCount {
			healthy, run = ok, 0
			if ok {
				gauge.Set(1)
			} else {
				gauge.Set(0)
				d.Log.Warn("load balancer's target is unhealthy", "reason", why)
			}
		}
		first = false
		if clock.Sleep(ctx, d.Clock, h.Interval) != nil {
			return
		}
	}
}
