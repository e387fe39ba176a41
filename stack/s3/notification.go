package s3

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

// notification is a bucket's notification configuration
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html).
type notification struct {
	Rules       []rule
	EventBridge bool `json:",omitempty"`
}

// rule is one configuration: events of keys to a target.
type rule struct {
	ID     string
	Target string // ARN
	Events []string
	// Filter is nil if the configuration has none, which shows when it is read.
	Filter []filterRule
}

type filterRule struct{ Name, Value string }

func (r *rule) filter(name string) string {
	for _, f := range r.Filter {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// kind is a sort of target: the element of its configurations, and of the ARN in that.
type kind struct{ element, target, service, sort string }

var kinds = []kind{
	{"TopicConfiguration", "Topic", "sns", "topic"},
	{"QueueConfiguration", "Queue", "sqs", "queue"},
	{"CloudFunctionConfiguration", "CloudFunction", "lambda", "function"},
}

func kindOf(arn string) *kind {
	for i := range kinds {
		if service(arn) == kinds[i].service {
			return &kinds[i]
		}
	}
	return nil
}

// service is the third part of an ARN.
func service(arn string) string {
	parts := strings.SplitN(arn, ":", 4)
	if len(parts) < 4 {
		return ""
	}
	return parts[2]
}

// events are those that a configuration may name, by class. A class without actions is an event itself.
var events = map[string][]string{
	"ObjectCreated": {"Put", "Post", "Copy", "CompleteMultipartUpload"},
	"ObjectRemoved": {"Delete", "DeleteMarkerCreated"},
	"ObjectRestore": {"Post", "Completed", "Delete"},
	"Replication": {"OperationFailedReplication", "OperationNotTracked", "OperationMissedThreshold",
		"OperationReplicatedAfterThreshold"},
	"LifecycleExpiration":         {"Delete", "DeleteMarkerCreated"},
	"ObjectTagging":               {"Put", "Delete"},
	"ObjectAnnotation":            {"Put", "Delete"},
	"ObjectAcl":                   {"Put"},
	"ObjectRetention":             {"Put"},
	"LifecycleTransition":         nil,
	"IntelligentTiering":          nil,
	"ReducedRedundancyLostObject": nil,
}

// starred are the classes that may be named with a star for the action.
var starred = map[string]bool{
	"ObjectCreated": true, "ObjectRemoved": true, "ObjectRestore": true, "Replication": true, "LifecycleExpiration": true,
	"ObjectTagging": true, "ObjectAnnotation": true,
}

func isEvent(name string) bool {
	rest, ok := strings.CutPrefix(name, "s3:")
	class, action, dotted := strings.Cut(rest, ":")
	actions, known := events[class]
	switch {
	case !ok || !known:
		return false
	case !dotted:
		return actions == nil
	case action == "*":
		return starred[class]
	}
	return slices.Contains(actions, action)
}

func (s *Service) putNotification(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	doc, err := c.readXML("NotificationConfiguration")
	if err != nil {
		return err
	}
	config, err := parseNotification(doc, b)
	if err != nil {
		return err
	}
	if c.h.Header.Get("X-Amz-Skip-Destination-Validation") != "true" {
		if err := c.tryTargets(b, config); err != nil {
			return err
		}
	}
	return c.configure(b, func(set *settings) error {
		set.Notification = config
		if len(config.Rules) == 0 && !config.EventBridge {
			set.Notification = nil
		}
		return nil
	})
}

// parseNotification reads and checks what can be checked without the targets.
func parseNotification(doc *node, b *bucket) (*notification, error) {
	config := &notification{}
	by := map[string]func(*node) error{
		"EventBridgeConfiguration": func(n *node) error {
			if config.EventBridge || len(n.children) > 0 {
				return malformedXML()
			}
			config.EventBridge = true
			return nil
		},
	}
	for _, k := range kinds {
		by[k.element] = func(n *node) error {
			r, err := parseRule(n, k)
			config.Rules = append(config.Rules, r)
			return err
		}
	}
	if err := doc.each(by); err != nil {
		return nil, err
	}
	if len(config.Rules) > 100 {
		return nil, refuse(http.StatusBadRequest, "InvalidArgument", "The maximum number of notification configurations is 100.")
	}
	// S3 checks what stands by itself first, then each against the others.
	for i := range config.Rules {
		if err := config.Rules[i].check(b.region()); err != nil {
			return nil, err
		}
	}
	return config, overlap(config.Rules)
}

func parseRule(n *node, k kind) (rule, error) {
	r := rule{}
	seen := false
	err := n.each(map[string]func(*node) error{
		"Id":     once(&r.ID),
		k.target: once(&r.Target),
		"Event": func(e *node) error {
			var name string
			err := e.word(&name)
			r.Events = append(r.Events, name)
			return err
		},
		"Filter": func(f *node) error {
			if seen {
				return malformedXML()
			}
			seen = true
			return f.each(map[string]func(*node) error{"S3Key": func(key *node) error {
				return key.each(map[string]func(*node) error{"FilterRule": func(fr *node) error {
					var f filterRule
					err := fr.each(map[string]func(*node) error{"Name": once(&f.Name), "Value": into(&f.Value)})
					if err == nil && len(fr.children) != 2 {
						err = malformedXML()
					}
					r.Filter = append(r.Filter, f)
					return err
				}})
			}})
		},
	})
	if err == nil && (r.Target == "" || len(r.Events) == 0) {
		err = malformedXML()
	}
	if err == nil && service(r.Target) != k.service {
		err = invalidArgument(k.target, r.Target, "The ARN could not be parsed")
	}
	return r, err
}

// check checks a rule by itself, and completes it.
func (r *rule) check(region string) error {
	if r.ID == "" {
		r.ID = base64.StdEncoding.EncodeToString([]byte(uuid.NewString()))
	}
	if len(r.ID) > 255 {
		return invalidArgument("Id", r.ID, "ID length should not exceed allowed limit of 255")
	}
	k := kindOf(r.Target)
	parts := strings.SplitN(r.Target, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[5] == "" || !isAccount(parts[4]) {
		return invalidArgument(k.target, r.Target, "The ARN could not be parsed")
	}
	if parts[3] != region {
		return invalidArgument(k.target, r.Target,
			"The notification destination service region is not valid for the bucket location constraint")
	}
	if strings.HasSuffix(r.Target, ".fifo") {
		return invalidDestinations([]string{r.Target, "FIFO " + strings.ToUpper(k.service) + " " + k.sort + "s are not supported"})
	}
	for _, e := range r.Events {
		if !isEvent(e) {
			return invalidArgument("Event", e, "The event is not supported for notifications")
		}
	}
	for i := range r.Filter {
		f := &r.Filter[i]
		switch {
		case strings.EqualFold(f.Name, "prefix"):
			f.Name = "Prefix"
		case strings.EqualFold(f.Name, "suffix"):
			f.Name = "Suffix"
		default:
			return invalidArgument("FilterRule.Name", f.Name, "filter rule name must be either prefix or suffix")
		}
		if len(f.Value) > maxKey {
			return invalidArgument("FilterRule.Value", f.Value, "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation")
		}
		if i > 0 && f.Name == r.Filter[0].Name {
			return invalidArgument("FilterRule.Name", strings.ToLower(f.Name),
				"Cannot specify more than one "+strings.ToLower(f.Name)+" rule in a filter.")
		}
		if i > 1 {
			return malformedXML()
		}
	}
	return nil
}

// overlap refuses rules that one event could match two of.
func overlap(rules []rule) error {
	for i := range rules {
		for j := range i {
			a, b := &rules[i], &rules[j]
			if a.ID == b.ID {
				return invalidArgument("Id", a.ID, "Same ID used for multiple configurations. IDs must be unique")
			}
			if !shareEvent(a.Events, b.Events) {
				continue
			}
			if a.Filter == nil && b.Filter == nil {
				return refuse(http.StatusBadRequest, "InvalidArgument",
					"Configurations overlap. Configurations on the same bucket cannot share a common event type.")
			}
			p, q := a.filter("Prefix"), b.filter("Prefix")
			s, t := a.filter("Suffix"), b.filter("Suffix")
			if (strings.HasPrefix(p, q) || strings.HasPrefix(q, p)) && (strings.HasSuffix(s, t) || strings.HasSuffix(t, s)) {
				return refuse(http.StatusBadRequest, "InvalidArgument", "Configuration is ambiguously defined. "+
					"Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type.")
			}
		}
	}
	return nil
}

func shareEvent(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y || event.S3EventPattern(x).Match(strings.TrimPrefix(y, "s3:")) || event.S3EventPattern(y).Match(strings.TrimPrefix(x, "s3:")) {
				return true
			}
		}
	}
	return false
}

func invalidDestinations(problems ...[]string) error {
	f := refuse(http.StatusBadRequest, "InvalidArgument", "Unable to validate the following destination configurations")
	for i, p := range problems {
		n := string(rune('1' + i))
		if i >= 9 {
			break
		}
		f.members = append(f.members, "ArgumentName"+n, p[0], "ArgumentValue"+n, p[1])
	}
	return f
}

// tryTargets sends s3:TestEvent to the queues and topics, as S3 does before it accepts a configuration. Functions are
// not asked.
func (c *call) tryTargets(b *bucket, config *notification) error {
	body := `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"` + c.s.env.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z") + `","Bucket":"` + b.name +
		`","RequestId":"` + c.r.ID + `","HostId":"` + hostID(c.r.ID) + `"}`
	var problems [][]string
	for i := range config.Rules {
		target := config.Rules[i].Target
		k := kindOf(target)
		if k.service == "lambda" {
			continue
		}
		m := c.message(b, k, body)
		err := c.s.env.Deliver(c.h.Context(), target, m)
		var e *wire.Error
		switch {
		case err == nil:
		case !errors.As(err, &e) || e.Status >= http.StatusInternalServerError:
			return err
		case strings.Contains(e.Code, "NotExist") || strings.Contains(e.Code, "NonExistent") || strings.Contains(e.Code, "NotFound"):
			problems = append(problems, []string{target, "The destination " + k.sort + " does not exist"})
		default:
			problems = append(problems, []string{target, "Permissions on the destination " + k.sort +
				" do not allow S3 to publish notifications from this bucket"})
		}
	}
	if problems != nil {
		slices.SortStableFunc(problems, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
		return invalidDestinations(problems...)
	}
	return nil
}

// message wraps a document for a target, or if k is nil for an event bus.
func (c *call) message(b *bucket, k *kind, body string) env.Message {
	m := env.Message{From: "arn:aws:s3:::" + b.name, Principal: "s3.amazonaws.com", Account: b.account, Body: body, TraceHeader: c.h.Header.Get("X-Amzn-Trace-Id")}
	if k != nil && k.service == "sns" {
		m.Subject = "Amazon S3 Notification"
	}
	return m
}

func (s *Service) getNotification(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	b.mu.RLock()
	config := b.settings.Notification
	b.mu.RUnlock()
	d := newDocument()
	d.root("NotificationConfiguration")
	if config != nil {
		for _, k := range kinds {
			for i := range config.Rules {
				if r := &config.Rules[i]; service(r.Target) == k.service {
					r.write(d, k)
				}
			}
		}
		if config.EventBridge {
			d.text("EventBridgeConfiguration", "")
		}
	}
	d.close("NotificationConfiguration")
	c.document(http.StatusOK, d)
	return nil
}

func (r *rule) write(d *document, k kind) {
	d.open(k.element)
	d.text("Id", r.ID)
	d.text(k.target, r.Target)
	for _, e := range r.Events {
		d.text("Event", e)
	}
	if r.Filter != nil {
		d.open("Filter")
		d.open("S3Key")
		for _, f := range r.Filter {
			d.open("FilterRule")
			d.text("Name", f.Name)
			d.text("Value", f.Value)
			d.close("FilterRule")
		}
		d.close("S3Key")
		d.close("Filter")
	}
	d.close(k.element)
}

// happening is what a notification tells.
type happening struct {
	name    string // "ObjectCreated:Put"
	reason  string // as EventBridge has it, "PutObject"
	key     string
	version *version
	// versioned tells that the version's id is shown.
	versioned bool
}

// tell makes the notices of what happens to a bucket. The caller holds the bucket's lock.
func (c *call) tell(b *bucket, h happening) []*notice {
	config := b.settings.Notification
	if config == nil {
		return nil
	}
	now := c.s.env.Clock.Now()
	var list []*notice
	add := func(target string, m env.Message) {
		list = append(list, &notice{
			Order: c.s.next(), Lane: laneKey{b.account, b.name, h.key, target}, Message: m, Twice: c.r.Duplicate, Born: now,
		})
	}
	sequencer := ""
	for i := range config.Rules {
		r := &config.Rules[i]
		if !r.match(&h) {
			continue
		}
		if sequencer == "" {
			sequencer = c.s.sequencer()
		}
		k := kindOf(r.Target)
		add(r.Target, c.message(b, k, c.record(b, &h, r.ID, now, sequencer)))
	}
	if config.EventBridge {
		if sequencer == "" {
			sequencer = c.s.sequencer()
		}
		if body := c.busEvent(b, &h, now, sequencer); body != "" {
			add("arn:aws:events:"+b.settings.Region+":"+b.account+":event-bus/default",
				c.message(b, nil, body))
		}
	}
	return list
}

// sequencer makes a text that is greater than all before.
func (s *Service) sequencer() string {
	return event.S3Sequencer(time.Unix(0, int64(s.next()))) //nolint:gosec // it is a time
}

func (r *rule) match(h *happening) bool {
	if !strings.HasPrefix(h.key, r.filter("Prefix")) || !strings.HasSuffix(h.key, r.filter("Suffix")) {
		return false
	}
	for _, e := range r.Events {
		if event.S3EventPattern(e).Match(h.name) {
			return true
		}
	}
	return false
}

// record is the document for queues, topics and functions.
func (c *call) record(b *bucket, h *happening, rule string, now time.Time, sequencer string) string {
	r := event.S3Record{
		Name: h.name, Region: b.settings.Region, Time: now, PrincipalID: userPrincipal(c.r.AccessKey), SourceIP: c.r.SourceIP,
		RequestID: c.r.ID, HostID: hostID(c.r.ID), ConfigurationID: rule,
		Bucket: b.name, BucketOwner: principal(b.account), Key: h.key, Sequencer: sequencer,
	}
	if h.version != nil {
		r.Size, r.ETag = h.version.Size, h.version.ETag
		if h.versioned {
			r.VersionID = h.version.ID
		}
	}
	return string(event.AppendS3(make([]byte, 0, 1024), []event.S3Record{r}))
}

// detailTypes are the names that EventBridge has for what S3 calls otherwise.
var detailTypes = map[string]string{
	"ObjectCreated:Put":                     "Object Created",
	"ObjectCreated:Post":                    "Object Created",
	"ObjectCreated:Copy":                    "Object Created",
	"ObjectCreated:CompleteMultipartUpload": "Object Created",
	"ObjectRemoved:Delete":                  "Object Deleted",
	"ObjectRemoved:DeleteMarkerCreated":     "Object Deleted",
	"ObjectTagging:Put":                     "Object Tags Added",
	"ObjectTagging:Delete":                  "Object Tags Deleted",
	"ObjectAcl:Put":                         "Object ACL Updated",
}

// busEvent is the document for the event bus
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), whose keys are not escaped.
func (c *call) busEvent(b *bucket, h *happening, now time.Time, sequencer string) string {
	kind := detailTypes[h.name]
	if kind == "" {
		return ""
	}
	marker := h.name == "ObjectRemoved:DeleteMarkerCreated"
	d := make([]byte, 0, 512)
	d = append(d, `{"version":"0","bucket":{"name":`...)
	d = event.AppendString(d, b.name)
	d = append(d, `},"object":{"key":`...)
	d = event.AppendString(d, h.key)
	if kind == "Object Created" {
		d = append(d, `,"size":`...)
		d = event.AppendInt(d, h.version.Size)
	}
	switch {
	case marker:
		d = append(d, `,"etag":"d41d8cd98f00b204e9800998ecf8427e"`...)
	case kind != "Object Deleted":
		d = append(d, `,"etag":`...)
		d = event.AppendString(d, h.version.ETag)
	}
	if h.versioned && h.version != nil {
		d = append(d, `,"version-id":`...)
		d = event.AppendString(d, h.version.ID)
	}
	if h.reason != "" {
		d = append(d, `,"sequencer":`...)
		d = event.AppendString(d, sequencer)
	}
	d = append(d, `},"request-id":`...)
	d = event.AppendString(d, c.r.ID)
	d = append(d, `,"requester":`...)
	d = event.AppendString(d, c.r.Account)
	d = append(d, `,"source-ip-address":`...)
	d = event.AppendString(d, c.r.SourceIP)
	if h.reason != "" {
		d = append(d, `,"reason":`...)
		d = event.AppendString(d, h.reason)
	}
	switch {
	case marker:
		d = append(d, `,"deletion-type":"Delete Marker Created"`...)
	case kind == "Object Deleted":
		d = append(d, `,"deletion-type":"Permanently Deleted"`...)
	}
	d = append(d, '}')
	return string(event.AppendEventBridge(make([]byte, 0, 1024), &event.EventBridge{
		ID: uuid.NewString(), DetailType: kind, Source: "aws.s3", Account: b.account, Region: b.settings.Region,
		Time: now, Resources: []string{"arn:aws:s3:::" + b.name}, Detail: d,
	}))
}
