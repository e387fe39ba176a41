// Package s3 is the stack's Simple Storage Service: buckets and objects with versions, tags, checksums and multipart
// uploads, and the notifications that they send to queues, topics, functions and event buses.
//
// The state is in memory, but for the bytes of objects, which a durable stack has on disk: small ones in the store,
// larger ones in files of their own beside it (see body). A change and the notifications that it causes are written
// to the store together, so that neither survives without the other (see notices).
//
// The answers follow the API reference (https://docs.aws.amazon.com/AmazonS3/latest/API/) and recordings of S3.
package s3

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// Service is made by New. Its methods may be called concurrently.
type Service struct {
	env    env.Env
	bodies *bodies
	// counter is the last number that was given out by next.
	counter atomic.Uint64

	mu      sync.RWMutex
	buckets map[bucketID]*bucket

	noticesMu sync.RWMutex
	notices   *notices
}

// bucketID names a bucket. AWS has one name space for all accounts; a stack has one for each, so that tests that
// run at the same time under their own accounts do not meet.
type bucketID struct{ account, name string }

// New returns the service with what the store remembers.
func New(e env.Env) (*Service, error) {
	s := &Service{env: e, buckets: map[bucketID]*bucket{}}
	s.notices = newNotices(e)
	var err error
	if s.bodies, err = newBodies(e.Store); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("reading the buckets: %w", err)
	}
	return s, nil
}

// API describes the service.
func (s *Service) API() []wire.Service {
	api := wire.Service{Name: "s3", Handler: s, Throttled: wire.Error{
		Code: "SlowDown", Message: "Please reduce your request rate.", Status: http.StatusServiceUnavailable,
	}}
	for _, o := range append([]operation{listBuckets, listObjectsV2, copyObject, uploadPartCopy}, named()...) {
		api.Operations = append(api.Operations, wire.Operation{Name: o.name, Duplicates: notifies[o.name]})
	}
	return []wire.Service{api}
}

func named() []operation {
	var list []operation
	for _, o := range operations {
		list = append(list, o)
	}
	return list
}

// notifies are the operations that cause notifications.
var notifies = map[string]bool{
	"PutObject": true, "PostObject": true, "CopyObject": true, "CompleteMultipartUpload": true,
	"DeleteObject": true, "DeleteObjects": true, "PutObjectTagging": true, "DeleteObjectTagging": true,
	"PutObjectAcl": true,
}

// Reset forgets everything. What is under way meanwhile is refused, as if its bucket had gone.
func (s *Service) Reset() {
	s.mu.Lock()
	var pieces []piece
	for _, b := range s.buckets {
		b.mu.Lock()
		b.gone = true
		pieces = append(pieces, b.pieces()...)
		b.mu.Unlock()
	}
	clear(s.buckets)
	s.noticesMu.Lock()
	s.notices.close()
	s.notices = newNotices(s.env)
	s.noticesMu.Unlock()
	var batch store.Batch
	batch.DeletePrefix(prefix)
	commit := s.env.Store.Commit(&batch)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		s.env.Log.Error("the buckets may come back when the stack starts again", "error", err)
		return
	}
	s.bodies.removeFiles(pieces)
}

// next returns a number that is greater than all before, also those before a restart: in the order of the versions
// of a key, of uploads and of notifications. It is the time in nanoseconds if that has moved.
func (s *Service) next() uint64 {
	now := uint64(max(0, s.env.Clock.Now().UnixNano())) //nolint:gosec // it is not below 0
	for {
		last := s.counter.Load()
		n := max(now, last+1)
		if s.counter.CompareAndSwap(last, n) {
			return n
		}
	}
}

// OperationOf implements wire.HTTPService.
func (s *Service) OperationOf(h *http.Request) string {
	op, err := operationOf(h, addressOf(h.Host, h.URL.Path), parseParams(h.URL.RawQuery))
	if err != nil {
		return ""
	}
	return op.name
}

// call is a request being answered.
type call struct {
	address
	s *Service
	w http.ResponseWriter
	h *http.Request
	r *wire.Request
	q params
	// old tells of a signature that names no region.
	old bool
	// versioned is set by pick: the bucket has, or had, versioning.
	versioned bool
	// markers makes pick tell a key that is hidden by a delete marker from one that is not there.
	markers bool
	// sumOfObject tells that a checksum in the headers is that of the object, not of the body.
	sumOfObject bool
}

// Serve implements wire.HTTPService.
func (s *Service) Serve(w http.ResponseWriter, h *http.Request, r *wire.Request) {
	c := s.newCall(w, h, r)
	op, err := operationOf(h, c.address, c.q)
	if err != nil && c.bucket != "" { // first of all the bucket must be there
		if _, e := c.bucketOf(c.bucket); e != nil {
			err = e
		}
	}
	if err == nil && op.name != "PostObject" && sigv4.FormCheck(h.Context()) != nil { // it is not signed yet
		err = accessDenied()
	}
	if err == nil {
		err = c.admit()
	}
	if err == nil {
		err = op.serve(s, c)
	}
	if err != nil {
		c.refuse(err)
	}
}

// Refuse implements wire.HTTPService.
func (s *Service) Refuse(w http.ResponseWriter, h *http.Request, r *wire.Request, err *wire.Error) {
	s.newCall(w, h, r).refuse(err)
}

func (s *Service) newCall(w http.ResponseWriter, h *http.Request, r *wire.Request) *call {
	header := w.Header()
	header["X-Amz-Request-Id"] = []string{r.ID}
	header["X-Amz-Id-2"] = []string{hostID(r.ID)}
	header["Server"] = []string{"AmazonS3"}
	return &call{s: s, w: w, h: h, r: r, address: addressOf(h.Host, h.URL.Path), q: parseParams(h.URL.RawQuery)}
}

// admit looks at what all operations have in common.
func (c *call) admit() error {
	c.hoist()
	if c.r.AccessKey == "" {
		if key := c.oldKey(); key != "" {
			c.r.AccessKey, c.old = key, true
			if isAccount(key) {
				c.r.Account = key
			}
		}
	}
	for name, values := range c.h.Header {
		if strings.HasPrefix(name, "X-Amz-") {
			if err := c.checkHeader(name, values[0]); err != nil {
				return err
			}
		}
	}
	return nil
}

// oldKey is the key of a signature of the second version, which names no region.
func (c *call) oldKey() string {
	if credential, ok := strings.CutPrefix(c.h.Header.Get("Authorization"), "AWS "); ok {
		key, _, _ := strings.Cut(credential, ":")
		return key
	}
	return c.q.get("AWSAccessKeyId")
}

// hoist makes headers of the parameters of a presigned URL that stand for some.
func (c *call) hoist() {
	for _, p := range c.q {
		name := http.CanonicalHeaderKey(p.name)
		if !strings.HasPrefix(name, "X-Amz-") && name != "If-Match" && name != "If-None-Match" {
			continue
		}
		switch name {
		case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature", "X-Amz-Signedheaders":
			continue
		}
		if strings.HasPrefix(name, "X-Amz-Checksum-") || name == "X-Amz-Sdk-Checksum-Algorithm" {
			continue // S3 does not mind them: a URL is made before there is a body
		}
		if _, ok := c.h.Header[name]; !ok {
			c.h.Header[name] = []string{p.value}
		}
	}
}

// known are the headers that some operation of the stack minds, or that ask for nothing.
var known = map[string]bool{
	"X-Amz-Acl": true, "X-Amz-Checksum-Algorithm": true, "X-Amz-Checksum-Mode": true, "X-Amz-Checksum-Type": true,
	"X-Amz-Content-Sha256": true, "X-Amz-Copy-Source": true, "X-Amz-Date": true, "X-Amz-Decoded-Content-Length": true,
	"X-Amz-Expected-Bucket-Owner": true, "X-Amz-Max-Parts": true, "X-Amz-Metadata-Directive": true,
	"X-Amz-Mp-Object-Size": true, "X-Amz-Object-Attributes": true, "X-Amz-Object-Ownership": true,
	"X-Amz-Part-Number-Marker": true, "X-Amz-Request-Payer": true, "X-Amz-Sdk-Checksum-Algorithm": true,
	"X-Amz-Security-Token": true, "X-Amz-Skip-Destination-Validation": true, "X-Amz-Source-Expected-Bucket-Owner": true,
	"X-Amz-Storage-Class": true, "X-Amz-Tagging": true, "X-Amz-Tagging-Directive": true, "X-Amz-Trailer": true,
	"X-Amz-User-Agent": true, "X-Amz-Website-Redirect-Location": true, "X-Amz-Te": true,
}

// checkHeader refuses a header of S3 that asks for what the stack does not have.
func (c *call) checkHeader(name, value string) error {
	if known[name] || strings.HasPrefix(name, metaPrefix) || strings.HasPrefix(name, "X-Amz-Checksum-") ||
		strings.HasPrefix(name, "X-Amz-Grant-") || strings.HasPrefix(name, "X-Amz-Copy-Source-If-") || name == "X-Amz-Copy-Source-Range" {
		return nil
	}
	switch {
	case name == "X-Amz-Server-Side-Encryption" && value == "AES256":
		return nil
	case name == "X-Amz-Bucket-Namespace" && value == "global":
		return nil
	case value == "false" && (name == "X-Amz-Bucket-Object-Lock-Enabled" || name == "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"):
		return nil
	case name == "X-Amz-Optional-Object-Attributes": // there are no restored objects to tell of
		return nil
	case name == "X-Amz-Bypass-Governance-Retention":
		return refuse(http.StatusBadRequest, "InvalidArgument",
			"x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.",
			"ArgumentName", "x-amz-bypass-governance-retention")
	}
	return unsupportedHeader(strings.ToLower(name))
}

// document answers with a document.
func (c *call) document(status int, d *document) {
	header := c.w.Header()
	header["Content-Type"] = []string{"application/xml"}
	if status != http.StatusOK {
		c.w.WriteHeader(status)
	}
	c.w.Write(d.Bytes())
}
