package s3

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// maxListed is the most that a page holds.
const maxListed = 1000

// bounded reads a number, which is def if there is none.
func bounded(text, name string, def int) (int, error) {
	if text == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, invalidArgument(name, text, "Provided "+name+" not an integer or within integer range")
	}
	if n < 0 {
		return 0, invalidArgument(name, text, "Argument "+name+" must be an integer between 0 and 2147483647")
	}
	return int(n), nil
}

// listing are the parameters that all lists have.
type listing struct {
	prefix, delimiter string
	limit             int
	encode            bool
}

func (c *call) listing(limit string) (listing, error) {
	l := listing{prefix: c.q.get("prefix"), delimiter: c.q.get("delimiter")}
	var err error
	if l.limit, err = bounded(c.q.get(limit), limit, maxListed); err != nil {
		return l, err
	}
	l.limit = min(l.limit, maxListed)
	if c.q.has("encoding-type") {
		e := c.q.get("encoding-type")
		if e != "url" {
			return l, invalidArgument("encoding-type", e, "Invalid Encoding Method specified in Request")
		}
		l.encode = true
	}
	return l, nil
}

// text shows a key, or a part of one.
func (l *listing) text(d *document, name, value string) {
	if l.encode {
		value = escapeKey(value)
	}
	d.text(name, value)
}

// escapeKey is encoding-type=url: as forms are encoded, but for slashes.
func escapeKey(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.*/", c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// shared is the part of a key up to the first delimiter after the prefix, "" if there is none.
func (l *listing) shared(key string) string {
	if l.delimiter == "" {
		return ""
	}
	i := strings.Index(key[len(l.prefix):], l.delimiter)
	if i < 0 {
		return ""
	}
	return key[:len(l.prefix)+i+len(l.delimiter)]
}

// beyond is the least text that is greater than all that begin with s, ok is false if there is none.
func beyond(s string) (least string, ok bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] < 0xff {
			return s[:i] + string([]byte{s[i] + 1}), true
		}
	}
	return "", false
}

// ordered is a map that can be walked from a key on.
type ordered[V any] interface {
	Ascend(pivot string, each func(key string, value V) bool)
}

// walk calls each for the keys from a key on that begin with the prefix, with the key up to where it is ordered by,
// and instead of those that share a part up to the delimiter once with that. It stops when each returns false.
func walk[V any](l *listing, m ordered[V], from string, name func(key string, v V) string, each func(shared, key string, v V) bool) {
	from = max(from, l.prefix)
	for again := true; again; {
		again = false
		m.Ascend(from, func(key string, v V) bool {
			object := name(key, v)
			if !strings.HasPrefix(object, l.prefix) {
				return false
			}
			shared := l.shared(object)
			if shared == "" {
				return each("", object, v)
			}
			if each(shared, object, v) {
				from, again = beyond(shared)
			}
			return false
		})
	}
}

func sameName[V any](key string, _ V) string { return key }

// found is an entry of a list: an object, or a part that keys share.
type found struct {
	key, shared string
	v           *version
}

// objects lists what is visible after a marker, and whether there is more.
func (l *listing) objects(b *bucket, marker string) (list []found, more bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if l.limit == 0 {
		return nil, false
	}
	visible := func(o *object) bool { return !o.latest().Marker }
	walk(l, &b.objects, marker, sameName[*object], func(shared, key string, o *object) bool {
		if shared != "" {
			if strings.HasPrefix(marker, shared) || !l.anyVisible(b, shared, visible) {
				return true
			}
		} else if key == marker || !visible(o) {
			return true
		}
		if len(list) == l.limit {
			more = true
			return false
		}
		list = append(list, found{key, shared, o.latest()})
		return true
	})
	return list, more
}

// anyVisible reports whether any key that begins with shared is visible.
func (l *listing) anyVisible(b *bucket, shared string, visible func(*object) bool) (any bool) {
	b.objects.Ascend(shared, func(key string, o *object) bool {
		if !strings.HasPrefix(key, shared) {
			return false
		}
		any = visible(o)
		return !any
	})
	return any
}

func (s *Service) listObjects(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	l, err := c.listing("max-keys")
	if err != nil {
		return err
	}
	marker := c.q.get("marker")
	list, more := l.objects(b, marker)
	c.w.Header()["X-Amz-Bucket-Region"] = []string{b.region()}
	d := newDocument()
	d.root("ListBucketResult")
	d.text("Name", c.bucket)
	l.text(d, "Prefix", l.prefix)
	l.text(d, "Marker", marker)
	if more && l.delimiter != "" {
		l.text(d, "NextMarker", list[len(list)-1].name())
	}
	d.number("MaxKeys", int64(l.limit))
	l.end(d, more)
	c.showObjects(d, &l, list, true)
	d.close("ListBucketResult")
	c.document(http.StatusOK, d)
	return nil
}

func (f *found) name() string {
	if f.shared != "" {
		return f.shared
	}
	return f.key
}

// end writes what all lists have after their limit.
func (l *listing) end(d *document, more bool) {
	if l.delimiter != "" {
		l.text(d, "Delimiter", l.delimiter)
	}
	if l.encode {
		d.text("EncodingType", "url")
	}
	d.boolean("IsTruncated", more)
}

func (c *call) showObjects(d *document, l *listing, list []found, owner bool) {
	for i := range list {
		f := &list[i]
		if f.shared != "" {
			continue
		}
		d.open("Contents")
		l.text(d, "Key", f.key)
		c.showVersion(d, f.v)
		if owner {
			c.owner(d)
		}
		d.text("StorageClass", f.v.class())
		d.close("Contents")
	}
	l.showShared(d, list)
}

// showVersion writes what lists tell of an object between its key and its owner.
func (c *call) showVersion(d *document, v *version) {
	d.time("LastModified", v.Modified)
	d.text("ETag", `"`+v.ETag+`"`)
	if v.Sum.Algorithm != "" {
		d.text("ChecksumAlgorithm", v.Sum.Algorithm)
		d.text("ChecksumType", v.Sum.Type)
	}
	d.number("Size", v.Size)
}

func (l *listing) showShared(d *document, list []found) {
	for i := range list {
		if list[i].shared != "" {
			d.open("CommonPrefixes")
			l.text(d, "Prefix", list[i].shared)
			d.close("CommonPrefixes")
		}
	}
}

func (c *call) owner(d *document) {
	d.open("Owner")
	d.text("ID", canonicalID(c.r.Account))
	d.close("Owner")
}

func (s *Service) listObjectsV2(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	l, err := c.listing("max-keys")
	if err != nil {
		return err
	}
	start := c.q.get("start-after")
	token := c.q.get("continuation-token")
	marker := start
	if c.q.has("continuation-token") {
		text, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(text) == 0 || text[0] != '1' {
			return refuse(http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect",
				"ArgumentName", "continuation-token")
		}
		marker = string(text[1:])
	}
	list, more := l.objects(b, marker)
	c.w.Header()["X-Amz-Bucket-Region"] = []string{b.region()}
	d := newDocument()
	d.root("ListBucketResult")
	d.text("Name", c.bucket)
	l.text(d, "Prefix", l.prefix)
	if start != "" && token == "" {
		l.text(d, "StartAfter", start)
	}
	d.given("ContinuationToken", token)
	if more {
		d.text("NextContinuationToken", base64.RawURLEncoding.EncodeToString([]byte("1"+list[len(list)-1].name())))
	}
	d.number("KeyCount", int64(len(list)))
	d.number("MaxKeys", int64(l.limit))
	l.end(d, more)
	c.showObjects(d, &l, list, c.q.get("fetch-owner") == "true")
	d.close("ListBucketResult")
	c.document(http.StatusOK, d)
	return nil
}

// before is the place of the version that is next older than one, which may be gone; -1 if there is none.
func (o *object) before(id string) int {
	if i := o.find(id); i >= 0 || id == "" || id == nullVersion {
		return i - 1
	}
	order := orderOf(id)
	i := len(o.versions) - 1
	for i >= 0 && o.versions[i].Order >= order {
		i--
	}
	return i
}

func (s *Service) listObjectVersions(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	l, err := c.listing("max-keys")
	if err != nil {
		return err
	}
	marker, id := c.q.get("key-marker"), c.q.get("version-id-marker")
	switch {
	case c.q.has("version-id-marker") && id == "":
		return invalidArgument("version-id-marker", id, "A version-id marker cannot be empty.")
	case id != "" && marker == "":
		return invalidArgument("version-id-marker", id, "A version-id marker cannot be specified without a key marker.")
	case id != "" && id != nullVersion && !isVersionID(id):
		return invalidArgument("version-id-marker", id, "Invalid version id specified")
	}
	type entry struct {
		found
		latest bool
	}
	var list []entry
	more := false
	b.mu.RLock()
	if l.limit > 0 {
		walk(&l, &b.objects, marker, sameName[*object], func(shared, key string, o *object) bool {
			if shared != "" {
				if strings.HasPrefix(marker, shared) {
					return true
				}
				if more = len(list) == l.limit; !more {
					list = append(list, entry{found: found{shared: shared}})
				}
				return !more
			}
			first := len(o.versions) - 1
			if key == marker && marker != "" {
				first = o.before(id)
			}
			for i := first; i >= 0; i-- {
				if more = len(list) == l.limit; more {
					return false
				}
				list = append(list, entry{found{key: key, v: o.versions[i]}, i == len(o.versions)-1})
			}
			return true
		})
	}
	b.mu.RUnlock()

	d := newDocument()
	d.root("ListVersionsResult")
	d.text("Name", c.bucket)
	l.text(d, "Prefix", l.prefix)
	l.text(d, "KeyMarker", marker)
	d.text("VersionIdMarker", id)
	if more {
		last := list[len(list)-1]
		l.text(d, "NextKeyMarker", last.name())
		if last.v != nil {
			d.text("NextVersionIdMarker", last.v.ID)
		}
	}
	d.number("MaxKeys", int64(l.limit))
	l.end(d, more)
	for i := range list {
		e := &list[i]
		if e.v == nil {
			continue
		}
		element := "Version"
		if e.v.Marker {
			element = "DeleteMarker"
		}
		d.open(element)
		l.text(d, "Key", e.key)
		d.text("VersionId", e.v.ID)
		d.boolean("IsLatest", e.latest)
		if e.v.Marker {
			d.time("LastModified", e.v.Modified)
		} else {
			c.showVersion(d, e.v)
		}
		c.owner(d)
		if !e.v.Marker {
			d.text("StorageClass", e.v.class())
		}
		d.close(element)
	}
	shares := make([]found, len(list))
	for i := range list {
		shares[i] = list[i].found
	}
	l.showShared(d, shares)
	d.close("ListVersionsResult")
	c.document(http.StatusOK, d)
	return nil
}
