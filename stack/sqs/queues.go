package sqs

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/stack/wire"
)

// The operations on queues.

const (
	// deletedWait is how long a name is taken after its queue was deleted, purgeWait how long a purge excludes another.
	deletedWait = time.Minute
	purgeWait   = time.Minute
	maxList     = 1000
	maxTags     = 50
)

var (
	standardName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)
	fifoName     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,75}\.fifo$`)
)

func (s *Service) createQueue(_ context.Context, r *wire.Request, in *createQueueInput) (*queueURLOutput, error) {
	if in.QueueName == "" {
		return nil, missingParameter("QueueName")
	}
	wantFIFO, _ := readBool(in.Attributes[attrFIFO])
	switch {
	case wantFIFO && !fifoName.MatchString(in.QueueName):
		return nil, invalidParameter("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, " +
			"must end with .fifo suffix and be 1 to 80 in length.")
	case !wantFIFO && !standardName.MatchString(in.QueueName):
		return nil, invalidParameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	given, err := normalize(in.Attributes, wantFIFO)
	if err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	set, err := with(defaults(wantFIFO), given)
	if err != nil {
		return nil, err
	}
	p := place{account: r.Account, region: r.Region, name: in.QueueName}
	if err := s.checkRedrive(p, set, given[attrRedrive]); err != nil {
		return nil, err
	}
	now := s.env.Clock.Now().UnixNano()

	s.mu.Lock()
	if q := s.queues[p]; q != nil {
		s.mu.Unlock()
		if err := q.equals(given); err != nil {
			return nil, err
		}
		there := s.env.Store.Barrier()
		if err := there.Wait(); err != nil {
			return nil, err
		}
		return &queueURLOutput{urlOf(r, p)}, nil
	}
	if at, ok := s.deleted[p]; ok {
		if time.Duration(now-at) < deletedWait {
			s.mu.Unlock()
			e := batchError("QueueDeletedRecently", "You must wait 60 seconds after deleting a queue before you can create another with the same name.")
			return nil, e
		}
		delete(s.deleted, p)
	}
	q := s.newQueue(p, newQueueID(), now)
	q.fifo = set.fifo
	maps.Copy(q.tags, in.Tags)
	q.settings.Store(set)
	s.eraseDeleted(&q.changes, p)
	if err := q.saveQueue(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	c := q.commit()
	s.queues[p] = q
	s.mu.Unlock()
	if err := c.Wait(); err != nil {
		return nil, err
	}
	return &queueURLOutput{urlOf(r, p)}, nil
}

// equals reports, as an error, an attribute that the queue has with another value.
func (q *queue) equals(given map[string]string) error {
	have := q.settings.Load().values
	for _, name := range slices.Sorted(maps.Keys(given)) {
		is, ok := have[name]
		if !ok && name == attrKeyReuse {
			is = defaultKeyReuse
		}
		if !sameAttribute(name, is, given[name]) {
			e := wire.Errorf("QueueNameExists", "A queue already exists with the same name and a different value for attribute %s", name)
			e.QueryCode = "QueueAlreadyExists"
			return e
		}
	}
	return nil
}

// checkRedrive checks that a dead-letter queue may be one for the queue at p. text is the policy as it was given, "" if
// it does not change.
func (s *Service) checkRedrive(p place, set *settings, text string) error {
	if text == "" || set.redrive == nil {
		return nil
	}
	bad := func(reason string) error { return invalidValue(attrRedrive, text, "%s", reason) }
	target, _ := parseARN(set.redrive.target)
	switch {
	case target.account != p.account:
		return bad("Dead-letter target owner should be same as the source.")
	case target.region != p.region:
		return bad("Dead-letter target must be in the same region as the source.")
	case strings.HasSuffix(target.name, ".fifo") != set.fifo:
		return bad("Dead-letter queue must be same type of queue as the source.")
	}
	q := s.at(target)
	if q == nil {
		return bad("Dead letter target does not exist.")
	}
	if !q.settings.Load().allow.allows(p.arn()) {
		return bad("The redrive allow policy of the dead-letter queue does not permit this source queue.")
	}
	return nil
}

func (s *Service) deleteQueue(_ context.Context, r *wire.Request, in *queueInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	now := s.env.Clock.Now().UnixNano()
	s.mu.Lock()
	if s.queues[q.place] != q {
		s.mu.Unlock()
		return nil, errDeleted
	}
	delete(s.queues, q.place)
	for p, at := range s.deleted {
		if time.Duration(now-at) >= deletedWait {
			delete(s.deleted, p)
		}
	}
	s.deleted[q.place] = now
	s.mu.Unlock()

	q.mu.Lock()
	q.close()
	q.eraseQueue()
	s.saveDeleted(&q.changes, q.place, now)
	c := q.commit()
	q.mu.Unlock()
	return &wire.None{}, c.Wait()
}

func (s *Service) getQueueURL(_ context.Context, r *wire.Request, in *getQueueURLInput) (*queueURLOutput, error) {
	if in.QueueName == "" {
		return nil, missingParameter("QueueName")
	}
	p := place{account: r.Account, region: r.Region, name: in.QueueName}
	if in.Owner != "" {
		p.account = in.Owner
	}
	if s.at(p) == nil {
		return nil, queueDoesNotExist(r.Query)
	}
	return &queueURLOutput{urlOf(r, p)}, nil
}

func (s *Service) listQueues(_ context.Context, r *wire.Request, in *listQueuesInput) (*listQueuesOutput, error) {
	urls, next, err := s.page(r, in.MaxResults, in.NextToken, func(q *queue) bool { return strings.HasPrefix(q.name, in.Prefix) })
	if err != nil {
		return nil, err
	}
	return &listQueuesOutput{urls, next}, nil
}

func (s *Service) listSources(_ context.Context, r *wire.Request, in *listSourcesInput) (*listSourcesOutput, error) {
	target, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	arn := target.arn()
	urls, next, err := s.page(r, in.MaxResults, in.NextToken, func(q *queue) bool {
		p := q.settings.Load().redrive
		return p != nil && p.target == arn
	})
	if err != nil {
		return nil, err
	}
	return &listSourcesOutput{urls, next}, nil
}

// page returns the URLs of the caller's queues that match, by name, from the one after the token's on.
func (s *Service) page(r *wire.Request, most *int32, token string, match func(*queue) bool) (urls []string, next string, err error) {
	limit := maxList
	if most != nil {
		if limit = int(*most); limit < 1 || limit > maxList {
			return nil, "", invalidValue("MaxResults", *most, "MaxResults must be an integer between 1 and %d.", maxList)
		}
	}
	after, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return nil, "", invalidParameter("Invalid or expired next token.")
	}
	names := []string{}
	s.mu.RLock()
	for p, q := range s.queues {
		if p.account == r.Account && p.region == r.Region && p.name > string(after) && match(q) {
			names = append(names, p.name)
		}
	}
	s.mu.RUnlock()
	slices.Sort(names)
	if len(names) > limit {
		names = names[:limit]
		if most != nil { // a client that sets no limit gets the first thousand, and no token
			next = base64.StdEncoding.EncodeToString([]byte(names[limit-1]))
		}
	}
	urls = names
	for i, name := range names {
		urls[i] = urlOf(r, place{account: r.Account, region: r.Region, name: name})
	}
	return urls, next, nil
}

// readable are the attributes that GetQueueAttributes knows beyond those that can be set.
var readable = []string{attrARN, attrCreated, attrModified, attrVisible, attrNotVisible, attrDelayed}

func settable(name string) bool {
	switch name {
	case attrPolicy, attrRedrive, attrRedriveAllow, attrFIFO, attrContentDedup, attrDedupScope, attrThroughput, attrKey, attrManagedSSE:
		return true
	}
	_, ok := numeric[name]
	return ok
}

func (s *Service) getAttributes(_ context.Context, r *wire.Request, in *getAttributesInput) (*getAttributesOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	for _, name := range in.Names {
		if name != attrAll && !settable(name) && !slices.Contains(readable, name) {
			return nil, invalidAttributeName("Unknown Attribute %s.", name)
		}
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	all := maps.Clone(q.settings.Load().values)
	visible, notVisible, waiting := q.depth()
	all[attrARN] = q.arn()
	all[attrCreated] = strconv.FormatInt(q.created/int64(time.Second), 10)
	all[attrModified] = strconv.FormatInt(q.modified/int64(time.Second), 10)
	all[attrVisible], all[attrNotVisible], all[attrDelayed] = strconv.Itoa(visible), strconv.Itoa(notVisible), strconv.Itoa(waiting)
	q.commit()
	q.leave(now)
	if !slices.Contains(in.Names, attrAll) {
		maps.DeleteFunc(all, func(name, _ string) bool { return !slices.Contains(in.Names, name) })
	}
	return &getAttributesOutput{all}, nil
}

func (s *Service) setAttributes(_ context.Context, r *wire.Request, in *setAttributesInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	if len(in.Attributes) == 0 {
		return nil, missingParameter("Attributes")
	}
	given, err := normalize(in.Attributes, q.fifo)
	if err != nil {
		return nil, err
	}
	return s.change(q, func(old *settings) (*settings, error) {
		set, err := with(old.values, given)
		if err != nil {
			return nil, err
		}
		return set, s.checkRedrive(q.place, set, given[attrRedrive])
	})
}

// change replaces a queue's settings, and applies what they do to messages that are there.
func (s *Service) change(q *queue, f func(old *settings) (*settings, error)) (*wire.None, error) {
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	old := q.settings.Load()
	set, err := f(old)
	if err != nil {
		q.leave(now)
		return nil, err
	}
	q.settings.Store(set)
	q.modified = now
	if q.fifo && set.delay != old.delay {
		q.redelay(now, set.delay)
	}
	q.advance(now)
	err = q.saveQueue()
	c := q.commit()
	q.leave(now)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, c.Wait()
}

func (s *Service) addPermission(_ context.Context, r *wire.Request, in *addPermissionInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Label == "":
		return nil, missingParameter("Label")
	case !permissionLabel.MatchString(in.Label):
		return nil, invalidValue("Label", in.Label, "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	case len(in.Accounts) == 0:
		return nil, missingParameter("AWSAccountIds")
	case len(in.Actions) == 0:
		return nil, missingParameter("Actions")
	case len(in.Actions) > maxPermissions:
		return nil, overLimit("%d Actions were found, maximum allowed is %d.", len(in.Actions), maxPermissions)
	}
	for _, a := range in.Accounts {
		if !isAccount(a) {
			return nil, invalidValue("PrincipalId", a, "Unable to verify.")
		}
	}
	for _, a := range in.Actions {
		if !slices.Contains(permissions, a) {
			return nil, invalidValue("ActionName", "SQS:"+a, "Please refer to the appropriate WSDL for a list of valid actions. ")
		}
	}
	return s.change(q, func(old *settings) (*settings, error) {
		p, err := q.grant(old.values[attrPolicy], in.Label, in.Accounts, in.Actions)
		if err != nil {
			return nil, err
		}
		return with(old.values, map[string]string{attrPolicy: p})
	})
}

func (s *Service) removePermission(_ context.Context, r *wire.Request, in *removePermissionInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	if in.Label == "" {
		return nil, missingParameter("Label")
	}
	return s.change(q, func(old *settings) (*settings, error) {
		p, err := revoke(old.values[attrPolicy], in.Label)
		if err != nil {
			return nil, err
		}
		return with(old.values, map[string]string{attrPolicy: p})
	})
}

// checkTags checks tags by
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html.
func checkTags(tags map[string]string) error {
	for k, v := range tags {
		switch {
		case k == "" || len([]rune(k)) > 128:
			return invalidParameter("Tag keys must be between 1 and 128 characters in length.")
		case len([]rune(v)) > 256:
			return invalidParameter("Tag values must be between 0 and 256 characters in length.")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return invalidParameter("Tag keys starting with 'aws:' are reserved for system use.")
		}
	}
	if len(tags) > maxTags {
		return invalidParameter("Too many tags added for queue. The maximum is %d.", maxTags)
	}
	return nil
}

func (s *Service) tagQueue(_ context.Context, r *wire.Request, in *tagInput) (*wire.None, error) {
	if len(in.Tags) == 0 {
		return nil, missingParameter("Tags")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return s.retag(r, in.QueueURL, func(tags map[string]string) { maps.Copy(tags, in.Tags) })
}

func (s *Service) untagQueue(_ context.Context, r *wire.Request, in *untagInput) (*wire.None, error) {
	if len(in.Keys) == 0 {
		return nil, missingParameter("TagKeys")
	}
	return s.retag(r, in.QueueURL, func(tags map[string]string) {
		for _, k := range in.Keys {
			delete(tags, k)
		}
	})
}

func (s *Service) retag(r *wire.Request, queueURL string, f func(tags map[string]string)) (*wire.None, error) {
	q, err := s.queue(r, queueURL)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	tags := maps.Clone(q.tags)
	f(tags)
	if err = checkTags(tags); err == nil {
		q.tags = tags
		err = q.saveQueue()
	}
	c := q.commit()
	q.leave(now)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, c.Wait()
}

func (s *Service) listTags(_ context.Context, r *wire.Request, in *queueInput) (*listTagsOutput, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	tags := q.tags // replaced, never changed
	q.commit()
	q.leave(now)
	return &listTagsOutput{tags}, nil
}

func (s *Service) purgeQueue(_ context.Context, r *wire.Request, in *queueInput) (*wire.None, error) {
	q, err := s.queue(r, in.QueueURL)
	if err != nil {
		return nil, err
	}
	now, err := q.enter()
	if err != nil {
		return nil, err
	}
	if q.purged != 0 && time.Duration(now-q.purged) < purgeWait {
		q.leave(now)
		e := batchError("PurgeQueueInProgress", "Only one PurgeQueue operation on %s is allowed every 60 seconds.", q.name)
		e.Status = http.StatusForbidden
		return nil, e
	}
	q.purged = now
	q.purge()
	err = q.saveQueue()
	c := q.commit()
	q.leave(now)
	if err != nil {
		return nil, err
	}
	return &wire.None{}, c.Wait()
}
