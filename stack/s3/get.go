package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pick finds the version that a request names: by id, else the latest. The caller holds the bucket's lock.
func (c *call) pick(b *bucket, key string) (*version, error) {
	return c.pickVersion(b, key, c.q.get("versionId"), c.q.has("versionId"))
}

func (c *call) pickVersion(b *bucket, key, id string, byID bool) (*version, error) {
	c.versioned = b.settings.Versioning != ""
	o, _ := b.objects.Get(key)
	if byID && id == "" {
		return nil, invalidArgument("versionId", id, "Version id cannot be the empty string")
	}
	if byID && id != nullVersion && (!isVersionID(id) || b.settings.Versioning == "") {
		return nil, invalidArgument("versionId", id, "Invalid version id specified")
	}
	if o == nil {
		if byID {
			return nil, noSuchVersion(key, id)
		}
		return nil, noSuchKey(key)
	}
	if !byID {
		v := o.latest()
		if v.Marker && c.markers {
			return nil, methodNotAllowed(c.h.Method, "DeleteMarker")
		}
		if v.Marker {
			f := noSuchKey(key)
			f.header = http.Header{"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {v.ID}}
			return nil, f
		}
		return v, nil
	}
	i := o.find(id)
	if i < 0 {
		return nil, noSuchVersion(key, id)
	}
	v := o.versions[i]
	if v.Marker {
		f := methodNotAllowed(c.h.Method, "DeleteMarker")
		f.header = http.Header{
			"X-Amz-Delete-Marker": {"true"}, "X-Amz-Version-Id": {v.ID}, "Allow": {"DELETE"}, "Last-Modified": {httpTime(v.Modified)},
		}
		return nil, f
	}
	return v, nil
}

// find is pick for a request that changes nothing. If it is to pin the version's bytes, unpin them.
func (c *call) find(pin bool) (*bucket, *version, error) {
	b, err := c.open()
	if err != nil {
		return nil, nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	v, err := c.pick(b, c.key)
	if err == nil && pin {
		c.s.bodies.pin(v.Body)
	}
	return b, v, err
}

// stateID states the version that was read, if the bucket has or had versions.
func (c *call) stateID(v *version) {
	if c.versioned {
		c.w.Header()["X-Amz-Version-Id"] = []string{v.ID}
	}
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// overrides are the parameters that replace headers of an answer.
var overrides = map[string]string{
	"response-cache-control": "Cache-Control", "response-content-disposition": "Content-Disposition",
	"response-content-encoding": "Content-Encoding", "response-content-language": "Content-Language",
	"response-content-type": "Content-Type", "response-expires": "Expires",
}

// getObject is GetObject and HeadObject.
func (s *Service) getObject(c *call) error {
	err := c.get()
	for range 8 {
		if !errors.Is(err, errGone) { // else it was replaced just then
			break
		}
		err = c.get()
	}
	return err
}

func (c *call) get() error {
	_, v, err := c.find(true)
	if err != nil {
		return err
	}
	defer c.s.bodies.unpin(v.Body)
	if err := conditions(c.h.Header, "", v, c.h.Method, c.s.env.Clock.Now()); err != nil {
		if err == errNotModified { //nolint:errorlint // it is never wrapped
			c.w.Header()["ETag"] = []string{`"` + v.ETag + `"`}
			c.w.Header()["Last-Modified"] = []string{httpTime(v.Modified)}
			c.stateID(v)
		}
		return err
	}
	offset, n, partial, err := c.extent(v)
	if err != nil {
		return err
	}
	for _, p := range c.q {
		if overrides[p.name] != "" && strings.ContainsFunc(p.value, func(r rune) bool { return r > 0xff }) {
			return invalidArgument(p.name, p.value, "Header value cannot be represented using ISO-8859-1.")
		}
	}
	var r *reader
	if c.h.Method != http.MethodHead {
		if r, err = c.s.bodies.open(v.Body, offset, n); err != nil {
			return err
		}
	}

	header := c.w.Header()
	header["Accept-Ranges"] = []string{"bytes"}
	header["Content-Type"] = []string{defaultType}
	for name, value := range v.Header {
		header[name] = []string{toLatin1(value)}
	}
	for name, value := range v.Meta {
		header[metaPrefix+name] = []string{metaHeader(value)}
	}
	for _, p := range c.q {
		if name := overrides[p.name]; name != "" {
			header[name] = []string{toLatin1(p.value)}
		}
	}
	header["ETag"] = []string{`"` + v.ETag + `"`}
	header["Last-Modified"] = []string{httpTime(v.Modified)}
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	header["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	if v.Class != "" {
		header["X-Amz-Storage-Class"] = []string{v.Class}
	}
	if len(v.Tags) > 0 {
		header["X-Amz-Tagging-Count"] = []string{strconv.Itoa(len(v.Tags))}
	}
	c.stateID(v)
	part := c.q.get("partNumber")
	if len(v.Parts) > 0 && part != "" {
		header["X-Amz-Mp-Parts-Count"] = []string{strconv.Itoa(len(v.Parts))}
	}
	if strings.EqualFold(c.h.Header.Get("X-Amz-Checksum-Mode"), "enabled") {
		c.showSum(header, v, n)
	}
	if partial {
		header["Content-Range"] = []string{fmt.Sprintf("bytes %d-%d/%d", offset, offset+n-1, v.Size)}
		c.w.WriteHeader(http.StatusPartialContent)
	}
	if r == nil {
		return nil
	}
	if _, err := r.WriteTo(c.w); err != nil && c.h.Context().Err() == nil {
		c.s.env.Log.Error("an object could not be sent whole", "bucket", c.bucket, "key", c.key, "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for the whole
	}
	return nil
}

// showSum states the checksum of n bytes of a version, if there is one.
func (c *call) showSum(header http.Header, v *version, n int64) {
	sum := v.Sum
	i, err := strconv.Atoi(c.q.get("partNumber"))
	switch {
	case err == nil && len(v.Parts) > 0 && sum.Type == composite:
		sum.Value = v.Parts[i-1].Sum
	case n < v.Size:
		return
	}
	sum.headers(header)
}

// extent is which bytes a request asks for.
func (c *call) extent(v *version) (offset, n int64, partial bool, err error) {
	text := c.h.Header.Get("Range")
	part := c.q.get("partNumber")
	switch {
	case part != "" && text != "":
		return 0, 0, false, invalidRequest("Cannot specify both Range header and partNumber query parameter")
	case part != "":
		i, err := partNumber(part)
		if err != nil {
			return 0, 0, false, err
		}
		count := max(len(v.Parts), 1)
		if i > count {
			return 0, 0, false, refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber",
				"The requested partnumber is not satisfiable", "ActualPartCount", strconv.Itoa(count), "PartNumberRequested", part)
		}
		if len(v.Parts) == 0 {
			return 0, v.Size, v.Size > 0, nil
		}
		for _, p := range v.Parts[:i-1] {
			offset += p.Size
		}
		n = v.Parts[i-1].Size
		return offset, n, n > 0, nil
	case text == "":
		return 0, v.Size, false, nil
	}
	first, last, ok := parseRange(text, v.Size)
	if !ok { // as if there were none
		return 0, v.Size, false, nil
	}
	if first >= v.Size || last < first {
		f := refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable",
			"RangeRequested", text, "ActualObjectSize", strconv.FormatInt(v.Size, 10))
		f.header = http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", v.Size)}}
		return 0, 0, false, f
	}
	return first, last - first + 1, true, nil
}

// parseRange reads a Range of one part. If it is not such a one, ok is false. The last byte is within the size.
func parseRange(text string, size int64) (first, last int64, ok bool) {
	spec, found := strings.CutPrefix(text, "bytes=")
	if !found || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	from, to, found := strings.Cut(spec, "-")
	if !found {
		return 0, 0, false
	}
	if from == "" {
		n, err := strconv.ParseUint(to, 10, 63)
		if err != nil {
			return 0, 0, false
		}
		suffix := int64(n) //nolint:gosec // it has 63 bits
		if suffix == 0 {
			return size, size - 1, true // nothing, which cannot be had
		}
		return max(0, size-suffix), size - 1, true
	}
	a, err := strconv.ParseUint(from, 10, 63)
	if err != nil {
		return 0, 0, false
	}
	first, last = int64(a), size-1 //nolint:gosec // it has 63 bits
	if to != "" {
		z, err := strconv.ParseUint(to, 10, 63)
		if err != nil || z < a {
			return 0, 0, false
		}
		last = min(last, int64(z)) //nolint:gosec // it has 63 bits
	}
	return first, last, true
}

// conditions holds the conditional headers of a request, whose names begin with prefix, against a version.
func conditions(header http.Header, prefix string, v *version, method string, now time.Time) error {
	get := func(name string) string { return header.Get(prefix + name) }
	when := func(name string) (time.Time, bool) {
		text := get(name)
		if text == "" {
			return time.Time{}, false
		}
		t, err := http.ParseTime(text)
		if err != nil {
			if t, err = time.Parse(time.RFC3339, text); err != nil {
				return time.Time{}, false
			}
		}
		return t, true
	}
	failed := func(name string) error {
		if prefix != "" {
			name = "x-amz-copy-source-" + name
		}
		return preconditionFailed(name)
	}
	modified := v.Modified.Truncate(time.Second)
	match := get("If-Match")
	if match != "" && !anyETag(match, v.ETag) {
		return failed("If-Match")
	}
	if t, ok := when("If-Unmodified-Since"); ok && match == "" && modified.After(t) {
		return failed("If-Unmodified-Since")
	}
	unchanged := failed
	if prefix == "" && (method == http.MethodGet || method == http.MethodHead) {
		unchanged = func(string) error { return errNotModified }
	}
	none := get("If-None-Match")
	if none != "" && anyETag(none, v.ETag) {
		return unchanged("If-None-Match")
	}
	if t, ok := when("If-Modified-Since"); ok && none == "" && !modified.After(t) && !t.After(now) { // none can know the future
		return unchanged("If-Modified-Since")
	}
	return nil
}

// anyETag reports whether a list of ETags, or a star, names one.
func anyETag(list, etag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for given := range strings.SplitSeq(list, ",") {
		if sameETag(given, etag) {
			return true
		}
	}
	return false
}

func (s *Service) getObjectAttributes(c *call) error {
	_, v, err := c.find(false)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, list := range c.h.Header["X-Amz-Object-Attributes"] {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.TrimSpace(name)
			switch name {
			case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
				wanted[name] = true
			default:
				return invalidArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
			}
		}
	}
	if len(wanted) == 0 {
		return invalidArgument("x-amz-object-attributes", "", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	d := newDocument()
	d.root("GetObjectAttributesResponse")
	if wanted["ETag"] {
		d.text("ETag", v.ETag)
	}
	if wanted["Checksum"] && v.Sum.Algorithm != "" {
		d.open("Checksum")
		value, _, _ := strings.Cut(v.Sum.Value, "-") // without the number of parts
		d.text("Checksum"+v.Sum.Algorithm, value)
		d.text("ChecksumType", v.Sum.Type)
		d.close("Checksum")
	}
	if wanted["ObjectParts"] && len(v.Parts) > 0 {
		if err := c.showParts(d, v); err != nil {
			return err
		}
	}
	if wanted["StorageClass"] {
		d.text("StorageClass", v.class())
	}
	if wanted["ObjectSize"] {
		d.number("ObjectSize", v.Size)
	}
	d.close("GetObjectAttributesResponse")
	c.w.Header()["Last-Modified"] = []string{httpTime(v.Modified)}
	c.stateID(v)
	c.document(http.StatusOK, d)
	return nil
}

// showParts is what S3 tells of parts: their number, and if they have checksums each.
func (c *call) showParts(d *document, v *version) error {
	d.open("ObjectParts")
	d.number("PartsCount", int64(len(v.Parts)))
	if v.Parts[0].Sum != "" && v.Sum.Type == composite {
		limit, err := bounded(c.h.Header.Get("X-Amz-Max-Parts"), "x-amz-max-parts", 1000)
		if err != nil {
			return err
		}
		marker, err := bounded(c.h.Header.Get("X-Amz-Part-Number-Marker"), "x-amz-part-number-marker", 0)
		if err != nil {
			return err
		}
		parts := v.Parts
		for len(parts) > 0 && parts[0].Number <= marker {
			parts = parts[1:]
		}
		more := len(parts) > limit
		parts = parts[:min(len(parts), limit)]
		d.number("PartNumberMarker", int64(marker))
		next := 0
		if len(parts) > 0 {
			next = parts[len(parts)-1].Number
		}
		d.number("NextPartNumberMarker", int64(next))
		d.number("MaxParts", int64(limit))
		d.boolean("IsTruncated", more)
		for _, p := range parts {
			d.open("Part")
			d.number("PartNumber", int64(p.Number))
			d.number("Size", p.Size)
			d.text("Checksum"+v.Sum.Algorithm, p.Sum)
			d.close("Part")
		}
	}
	d.close("ObjectParts")
	return nil
}
