package s3

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/stack/store"
)

const (
	maxKey      = 1024 // bytes
	maxMeta     = 2 << 10
	metaPrefix  = "X-Amz-Meta-"
	defaultType = "binary/octet-stream"
)

// kept are the headers of an upload that come back with the object.
var kept = []string{
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires",
	"X-Amz-Website-Redirect-Location",
}

// classes are the storage classes of objects that can be read at once. The others are refused: there is no archive.
var classes = []string{"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}

func checkKey(key string) error {
	if len(key) > maxKey {
		return refuse(http.StatusBadRequest, "KeyTooLongError", "Your key is too long",
			"MaxSizeAllowed", strconv.Itoa(maxKey), "Size", strconv.Itoa(len(key)))
	}
	if !utf8.ValidString(key) {
		return refuse(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.", "URI", strings.ToValidUTF8(key, "\uFFFD"))
	}
	return nil
}

// encoding is in what form an upload states texts: they come in bytes from headers, and in Unicode from forms.
type encoding struct{ header, meta func(string) string }

var (
	ofHeaders = encoding{fromLatin1, metaText}
	ofForms   = encoding{func(s string) string { return s }, func(s string) string { return s }}
)

// describe reads what an upload's headers say of the object, but for tags and checksum.
func (c *call) describe(b *bucket, header http.Header, texts encoding) (*version, error) {
	v := &version{}
	for _, name := range kept {
		value := header.Get(name)
		if name == "Content-Encoding" {
			value = withoutChunked(value)
		}
		if value != "" {
			if v.Header == nil {
				v.Header = make(map[string]string, 2)
			}
			v.Header[name] = texts.header(value)
		}
	}
	size := 0
	for name, values := range header {
		if rest, ok := strings.CutPrefix(name, metaPrefix); ok {
			if v.Meta == nil {
				v.Meta = map[string]string{}
			}
			rest = strings.ToLower(rest)
			v.Meta[rest] = texts.meta(strings.Join(values, ","))
			size += len(rest) + len(v.Meta[rest])
		}
	}
	if size > maxMeta {
		return nil, refuse(http.StatusBadRequest, "MetadataTooLarge",
			"Your metadata headers exceed the maximum allowed metadata size",
			"MaxSizeAllowed", strconv.Itoa(maxMeta), "Size", strconv.Itoa(size))
	}
	if class := header.Get("X-Amz-Storage-Class"); class != "" {
		if err := checkClass(class); err != nil {
			return nil, err
		}
		if class != "STANDARD" {
			v.Class = class
		}
	}
	var err error
	v.ACL, err = c.aclHeaders(b, header)
	return v, err
}

func checkClass(class string) error {
	switch {
	case slices.Contains(classes, class):
		return nil
	case class == "GLACIER" || class == "DEEP_ARCHIVE":
		return refuse(http.StatusNotImplemented, "NotImplemented",
			"millrace's local stack has no archive: objects cannot have the storage class "+class, "Header", "x-amz-storage-class")
	}
	return refuse(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid",
		"StorageClassRequested", class)
}

// withoutChunked is a Content-Encoding without what is only of the transfer.
func withoutChunked(value string) string {
	if !strings.Contains(value, "aws-chunked") {
		return value
	}
	var rest []string
	for e := range strings.SplitSeq(value, ",") {
		if e = strings.TrimSpace(e); e != "aws-chunked" && e != "" {
			rest = append(rest, e)
		}
	}
	return strings.Join(rest, ",")
}

// condition is what a client demands of the object that a key has before it is changed.
type condition struct {
	match  string // ETag
	absent bool
}

func (c *call) condition() (condition, error) {
	var w condition
	refused := func(name, why string) error {
		return refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented",
			"Header", name, "additionalMessage", why)
	}
	unknown := func(name string) error {
		return refused(name, "We don't accept the provided value of "+name+" header for this API")
	}
	if c.h.Header["If-None-Match"] != nil && c.h.Header["If-Match"] != nil {
		return w, refused("If-Match,If-None-Match", "Multiple conditional request headers present in the request")
	}
	if v := c.h.Header["If-None-Match"]; v != nil {
		if v[0] != "*" {
			return w, unknown("If-None-Match")
		}
		w.absent = true
	}
	if v := c.h.Header["If-Match"]; v != nil {
		if v[0] == "*" || v[0] == "" {
			return w, unknown("If-Match")
		}
		w.match = v[0]
	}
	return w, nil
}

// check holds a condition against the object. The caller holds the bucket's lock.
func (w condition) check(o *object, key string) error {
	if w == (condition{}) {
		return nil
	}
	there := o != nil && !o.latest().Marker
	switch {
	case w.absent && there:
		return preconditionFailed("If-None-Match")
	case w.match == "":
		return nil
	case !there:
		return noSuchKey(key)
	case !sameETag(w.match, o.latest().ETag):
		return preconditionFailed("If-Match")
	}
	return nil
}

// sameETag compares a header's ETag, which may be in quotes or weak, with an object's.
func sameETag(given, etag string) bool {
	given = strings.TrimPrefix(strings.TrimSpace(given), "W/")
	return strings.Trim(given, `"`) == etag
}

func (s *Service) putObject(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	if err := checkKey(c.key); err != nil {
		return err
	}
	v, err := c.describe(b, c.h.Header, ofHeaders)
	if err != nil {
		return err
	}
	if v.Tags, err = tagsHeader(c.h.Header); err != nil {
		return err
	}
	want, err := c.condition()
	if err != nil {
		return err
	}
	if want != (condition{}) { // rather before than after all that is sent
		b.mu.RLock()
		o, _ := b.objects.Get(c.key)
		err := want.check(o, c.key)
		b.mu.RUnlock()
		if err != nil {
			return err
		}
	}
	rec, err := c.receive(defaultAlgorithm)
	if err != nil {
		return err
	}
	v.Size, v.ETag, v.Sum, v.Body = rec.piece.Size, rec.etag(), rec.sum, []piece{rec.piece}
	v, err = c.create(b, c.key, v, creation{name: "ObjectCreated:Put", reason: "PutObject", want: want})
	if err != nil {
		return err
	}
	header := c.w.Header()
	header["ETag"] = []string{`"` + v.ETag + `"`}
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	v.Sum.headers(header)
	v.showID(header)
	header["Content-Length"] = []string{"0"}
	return nil
}

// headers states a checksum.
func (s *checksum) headers(header http.Header) {
	if a := algorithmOf(s.Algorithm); a != nil {
		header[a.header] = []string{s.Value}
		header["X-Amz-Checksum-Type"] = []string{s.Type}
	}
}

// showID states the version that an upload has made, if the bucket has versions.
func (v *version) showID(header http.Header) {
	if v.ID != nullVersion {
		header["X-Amz-Version-Id"] = []string{v.ID}
	}
}

// creation is how a new version comes into a bucket.
type creation struct {
	name, reason string // of the notification
	want         condition
	upload       *completion // that it completes
}

// create adds a version to a key, and returns it as it is then.
func (c *call) create(b *bucket, key string, v *version, how creation) (*version, error) {
	b.mu.Lock()
	o, _ := b.objects.Get(key)
	err := how.want.check(o, key)
	if b.gone {
		err = noSuchBucket(b.name)
	}
	if err == nil && how.upload != nil {
		err = how.upload.check(b, o, how.want)
	}
	if err != nil {
		b.mu.Unlock()
		if how.upload == nil { // else its parts are still there
			c.s.bodies.removeFiles(v.Body)
		}
		return nil, err
	}

	v.Order, v.ID, v.Modified = c.s.next(), nullVersion, c.s.env.Clock.Now().UTC()
	if b.settings.Versioning == "Enabled" {
		v.ID = newVersionID(v.Order)
	}
	var batch store.Batch
	var dropped []piece
	v.Body = c.s.bodies.keep(&batch, v.Body)
	dropped = append(dropped, c.s.put(&batch, b, key, v)...)
	if how.upload != nil {
		dropped = append(dropped, c.s.removeUpload(&batch, b, how.upload.upload, v.Body)...)
	}
	list := c.tell(b, happening{name: how.name, reason: how.reason, key: key, version: v, versioned: v.ID != nullVersion})
	return v, c.finish(b, &batch, dropped, list)
}

// finish writes a batch and lets go of the bucket's lock, which the caller holds. Once the batch is on the disk it
// removes what was dropped and sends the notices.
func (c *call) finish(b *bucket, batch *store.Batch, dropped []piece, list []*notice) error {
	notices := c.s.outgoing()
	notices.add(batch, list)
	var commit store.Commit
	if batch.Empty() { // what is so already must be so for good
		commit = c.s.env.Store.Barrier()
	} else {
		commit = c.s.env.Store.Commit(batch)
	}
	b.mu.Unlock()
	err := commit.Wait()
	if err == nil {
		c.s.bodies.removeFiles(dropped)
	}
	notices.deliver(c.h.Context(), list)
	return err
}

// outgoing are the notices of now: Reset makes new ones.
func (s *Service) outgoing() *notices {
	s.noticesMu.RLock()
	defer s.noticesMu.RUnlock()
	return s.notices
}

// put makes v the latest version of a key. If it is a null version it takes the place of the one before, whose pieces
// are returned. The caller holds the bucket's lock.
func (s *Service) put(batch *store.Batch, b *bucket, key string, v *version) (dropped []piece) {
	o, _ := b.objects.Get(key)
	n := &object{}
	if o != nil {
		n.versions = make([]*version, 0, len(o.versions)+1)
		for _, old := range o.versions {
			if v.ID == nullVersion && old.ID == nullVersion {
				s.unsave(batch, b, key, old)
				dropped = append(dropped, old.Body...)
				continue
			}
			n.versions = append(n.versions, old)
		}
	}
	n.versions = append(n.versions, v)
	b.objects.Set(key, n)
	s.save(batch, b, key, v)
	return dropped
}

// newVersionID makes an id of 32 characters, as S3's have, for a version of that order. The last of them check the
// others, so that an id that was never given out is told from one that is gone.
func newVersionID(order uint64) string {
	var b [20]byte
	binary.BigEndian.PutUint64(b[:], order)
	rand.Read(b[8:16]) //nolint:errcheck // it does not fail
	binary.BigEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[:16]))
	return base32.StdEncoding.EncodeToString(b[:])
}

// isVersionID reports whether an id is one that newVersionID has made.
func isVersionID(id string) bool {
	b, err := base32.StdEncoding.DecodeString(id)
	return err == nil && len(b) == 20 && binary.BigEndian.Uint32(b[16:]) == crc32.ChecksumIEEE(b[:16])
}

// orderOf is the order of the version that an id was made for.
func orderOf(id string) uint64 {
	b, err := base32.StdEncoding.DecodeString(id)
	if err != nil || len(b) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}
