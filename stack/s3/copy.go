package s3

import (
	"crypto/md5" //nolint:gosec // S3's ETags are such sums
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// origin is what a copy is made of. Its bytes are pinned.
type origin struct {
	*version
	key    string
	bucket *bucket
}

// origin finds and pins the source of a copy.
func (c *call) origin() (*origin, error) {
	text := c.h.Header.Get("X-Amz-Copy-Source")
	path, id, byID := cutLast(text, "?versionId=")
	path, err := url.QueryUnescape(path)
	if err != nil {
		return nil, invalidArgument("x-amz-copy-source", "x-amz-copy-source", "Invalid copy source encoding")
	}
	name, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case !ok || name == "" || key == "":
		return nil, invalidArgument("x-amz-copy-source", "x-amz-copy-source", "Invalid copy source object key")
	case strings.HasPrefix(name, "arn:"):
		return nil, refuse(http.StatusNotImplemented, "NotImplemented", "millrace's local stack has no access points", "Header", "x-amz-copy-source")
	}
	b, err := c.bucketOf(name)
	if err != nil {
		return nil, err
	}
	if owner := c.h.Header["X-Amz-Source-Expected-Bucket-Owner"]; owner != nil {
		if err := checkOwner(owner[0], b); err != nil {
			return nil, err
		}
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	v, err := c.pickVersion(b, key, id, byID)
	if err != nil {
		var f *failure
		if errors.As(err, &f) && f.code == "MethodNotAllowed" {
			err = invalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
		}
		return nil, err
	}
	if err := conditions(c.h.Header, "X-Amz-Copy-Source-", v, c.h.Method, c.s.env.Clock.Now()); err != nil {
		return nil, err
	}
	c.s.bodies.pin(v.Body)
	return &origin{version: v, key: key, bucket: b}, nil
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// directive reads a header that says COPY or REPLACE.
func directive(header http.Header, name string) (replace bool, err error) {
	switch v := header.Get(name); v {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		return false, invalidArgument(strings.ToLower(name), v, "Unknown directive.")
	}
}

func (s *Service) copyObject(c *call) error {
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
	want, err := c.condition()
	if err != nil {
		return err
	}
	replace, err := directive(c.h.Header, "X-Amz-Metadata-Directive")
	if err != nil {
		return err
	}
	retag, err := directive(c.h.Header, "X-Amz-Tagging-Directive")
	if err != nil {
		return err
	}
	tags, err := tagsHeader(c.h.Header)
	if err != nil {
		return err
	}
	src, err := c.origin()
	if err != nil {
		return err
	}
	defer s.bodies.unpin(src.Body)

	_, class := c.h.Header["X-Amz-Storage-Class"]
	_, encryption := c.h.Header["X-Amz-Server-Side-Encryption"]
	redirect := v.Header["X-Amz-Website-Redirect-Location"]
	if src.bucket == b && src.key == c.key && !replace && !class && !encryption && redirect == "" && !strings.Contains(c.h.Header.Get("X-Amz-Copy-Source"), "?versionId=") {
		return invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing " +
			"the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if src.Size > maxUpload {
		return invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", maxUpload)
	}
	if !replace {
		v.Meta = src.Meta
		v.Header = map[string]string{}
		for name, value := range src.Header {
			v.Header[name] = value
		}
		delete(v.Header, "X-Amz-Website-Redirect-Location")
		if redirect != "" {
			v.Header["X-Amz-Website-Redirect-Location"] = redirect
		}
	}
	if v.Tags = src.Tags; retag {
		v.Tags = tags
	}
	if err := c.sumOfCopy(v, src); err != nil {
		return err
	}
	if v.Body, err = s.bodies.clone(src.Body); err != nil {
		return err
	}
	v.Size = src.Size
	v, err = c.create(b, c.key, v, creation{name: "ObjectCreated:Copy", reason: "CopyObject", want: want})
	if err != nil {
		return err
	}

	header := c.w.Header()
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	b.mu.RLock()
	c.versioned = b.settings.Versioning != ""
	b.mu.RUnlock()
	c.stateID(v)
	if src.ID != nullVersion {
		header["X-Amz-Copy-Source-Version-Id"] = []string{src.ID}
	}
	d := newDocument()
	d.root("CopyObjectResult")
	d.time("LastModified", v.Modified)
	d.text("ETag", `"`+v.ETag+`"`)
	v.Sum.write(d)
	d.close("CopyObjectResult")
	c.document(http.StatusOK, d)
	return nil
}

// write shows a checksum in a document.
func (s *checksum) write(d *document) {
	if s.Algorithm != "" {
		d.text("Checksum"+s.Algorithm, s.Value)
		d.text("ChecksumType", s.Type)
	}
}

// sumOfCopy sets the ETag and the checksum of a copy, which is an object in one part, whatever its source was.
func (c *call) sumOfCopy(v *version, src *origin) error {
	v.ETag, v.Sum = src.ETag, src.Sum
	name := strings.ToUpper(c.h.Header.Get("X-Amz-Checksum-Algorithm"))
	if name == "" && len(src.Parts) == 0 {
		return nil
	}
	if name == "" {
		name = src.Sum.Algorithm
	}
	a := algorithmOf(name)
	if a == nil {
		return unsupportedAlgorithm()
	}
	d := digests{md5: md5.New(), sum: a.make()} //nolint:gosec // an ETag
	r, err := c.s.bodies.open(src.Body, 0, src.Size)
	if err != nil {
		return err
	}
	if _, err := r.WriteTo(&d); err != nil {
		return err
	}
	v.ETag = hex.EncodeToString(d.md5.Sum(nil))
	v.Sum = checksum{Algorithm: a.name, Type: fullObject, Value: a.encode(d.sum)}
	return nil
}

// Write implements io.Writer.
func (d *digests) Write(p []byte) (int, error) {
	d.write(p)
	return len(p), nil
}
