package s3

import (
	"crypto/md5" //nolint:gosec // S3's ETags are such sums
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/millrace/millrace/stack/store"
)

const (
	minPart  = 5 << 20 // bytes of all parts but the last
	maxParts = 10_000
)

// upload is a multipart upload that is neither complete nor aborted.
type upload struct {
	Order     uint64
	ID, Key   string
	Initiated time.Time
	Algorithm string `json:",omitempty"` // of the checksum; "" if the client chose none
	Type      string `json:",omitempty"`
	Disturbed bool   `json:",omitempty"` // the key was deleted since
	// Version is what the object will be, but for its bytes.
	Version version

	parts   btree.Map[int, *part]
	changes int // of parts
}

// part is a part of an upload. It is never changed, but replaced.
type part struct {
	ETag     string
	Modified time.Time
	// Sum is the checksum by the upload's algorithm, by the default one if it has none.
	Sum  string
	Body piece
}

// index is the key of an upload in its bucket: by the object's key, then by age.
func (u *upload) index() string { return u.Key + "\x00" + u.ID }

// algorithm is that by which the parts are summed up.
func (u *upload) algorithm() *algorithm {
	if u.Algorithm == "" {
		return algorithmOf(defaultAlgorithm)
	}
	return algorithmOf(u.Algorithm)
}

func (u *upload) kind() string {
	if u.Type == "" {
		return fullObject
	}
	return u.Type
}

func partNumber(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxParts {
		return 0, invalidArgument("partNumber", text, "Part number must be an integer between 1 and 10000, inclusive")
	}
	return n, nil
}

// upload finds the upload that a request names. The caller holds the bucket's lock.
func (c *call) upload(b *bucket) (*upload, error) {
	id := c.q.get("uploadId")
	u, ok := b.uploads.Get(c.key + "\x00" + id)
	if !ok || b.gone {
		return nil, noSuchUpload(id)
	}
	return u, nil
}

func (s *Service) createMultipartUpload(c *call) error {
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
	u := &upload{Order: s.next(), Key: c.key, Initiated: s.env.Clock.Now().UTC(), Version: *v}
	u.ID = hex16(u.Order) + rand.Text() // by age, and not to be guessed
	if err := u.choose(c.h.Header); err != nil {
		return err
	}
	var batch store.Batch
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return noSuchBucket(b.name)
	}
	b.uploads.Set(u.index(), u)
	s.saveUpload(&batch, b, u)
	commit := s.env.Store.Commit(&batch)
	b.mu.Unlock()
	if err := commit.Wait(); err != nil {
		return err
	}
	header := c.w.Header()
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	if u.Algorithm != "" {
		header["X-Amz-Checksum-Algorithm"] = []string{u.Algorithm}
		header["X-Amz-Checksum-Type"] = []string{u.Type}
	}
	d := newDocument()
	d.root("InitiateMultipartUploadResult")
	d.text("Bucket", c.bucket)
	d.text("Key", c.key)
	d.text("UploadId", u.ID)
	d.close("InitiateMultipartUploadResult")
	c.document(http.StatusOK, d)
	return nil
}

// choose reads the checksum that the client wants.
func (u *upload) choose(header http.Header) error {
	name, kind := strings.ToUpper(header.Get("X-Amz-Checksum-Algorithm")), strings.ToUpper(header.Get("X-Amz-Checksum-Type"))
	if name == "" {
		if kind != "" {
			return invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return nil
	}
	a := algorithmOf(name)
	if a == nil {
		return unsupportedAlgorithm()
	}
	switch kind {
	case "":
		kind = a.defaultType()
	case fullObject, composite:
	default:
		return invalidRequest("Value for x-amz-checksum-type header is invalid.")
	}
	if !a.canBe(kind) {
		return invalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", kind, strings.ToLower(name))
	}
	u.Algorithm, u.Type = name, kind
	return nil
}

func (s *Service) saveUpload(batch *store.Batch, b *bucket, u *upload) {
	if s.env.Store.Durable() {
		batch.Set(b.key(uploadPrefix)+"/"+u.ID, encode(u))
	}
}

func partKey(b *bucket, u *upload, number int) string {
	return fmt.Sprintf("%s/%s/%05d", b.key(partPrefix), u.ID, number)
}

// target finds the upload and the number of a part that is about to be received.
func (c *call) target() (*bucket, *upload, int, error) {
	b, err := c.open()
	if err != nil {
		return nil, nil, 0, err
	}
	number, err := partNumber(c.q.get("partNumber"))
	if err != nil {
		return nil, nil, 0, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	u, err := c.upload(b)
	return b, u, number, err
}

func (s *Service) uploadPart(c *call) error {
	b, u, number, err := c.target()
	if err != nil {
		return err
	}
	if u.Algorithm != "" {
		given, _, err := chosen(c.h.Header)
		if err != nil {
			return err
		}
		if name := c.h.Header.Get("X-Amz-Trailer"); given == nil && name != "" {
			for i := range algorithms {
				if strings.EqualFold(name, algorithms[i].header) {
					given = &algorithms[i]
				}
			}
		}
		if given != nil && given.name != u.Algorithm {
			return invalidRequest("Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s",
				strings.ToLower(u.Algorithm), strings.ToLower(given.name))
		}
	}
	rec, err := c.receive(u.algorithm().name)
	if err != nil {
		return err
	}
	p := &part{ETag: rec.etag(), Body: rec.piece, Sum: rec.also}
	if err := c.addPart(b, u, number, p); err != nil {
		return err
	}
	header := c.w.Header()
	header["ETag"] = []string{`"` + p.ETag + `"`}
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	if rec.claimed || u.Algorithm != "" {
		header[algorithmOf(rec.sum.Algorithm).header] = []string{rec.sum.Value}
	}
	header["Content-Length"] = []string{"0"}
	return nil
}

// addPart puts a part into an upload, in the place of one of the same number.
func (c *call) addPart(b *bucket, u *upload, number int, p *part) error {
	p.Modified = c.s.env.Clock.Now().UTC()
	pieces := []piece{p.Body}
	var batch store.Batch
	b.mu.Lock()
	if now, err := c.upload(b); err != nil || now != u {
		b.mu.Unlock()
		c.s.bodies.removeFiles(pieces)
		return noSuchUpload(u.ID)
	}
	p.Body = c.s.bodies.keep(&batch, pieces)[0]
	old, replaced := u.parts.Set(number, p)
	u.changes++
	var dropped []piece
	if replaced {
		dropped = []piece{old.Body}
		c.s.bodies.drop(&batch, dropped)
	}
	if c.s.env.Store.Durable() {
		batch.Set(partKey(b, u, number), encode(p))
	}
	return c.finish(b, &batch, dropped, nil)
}

func (s *Service) uploadPartCopy(c *call) error {
	b, u, number, err := c.target()
	if err != nil {
		return err
	}
	src, err := c.origin()
	if err != nil {
		return err
	}
	defer s.bodies.unpin(src.Body)
	offset, n, err := c.copyRange(src.Size)
	if err != nil {
		return err
	}
	a := u.algorithm()
	d := digests{md5: md5.New(), sum: a.make()} //nolint:gosec // an ETag
	body, err := s.bodies.copy(src.Body, offset, n, d.write)
	if err != nil {
		return err
	}
	p := &part{ETag: hex.EncodeToString(d.md5.Sum(nil)), Body: body, Sum: a.encode(d.sum)}
	if err := c.addPart(b, u, number, p); err != nil {
		return err
	}
	header := c.w.Header()
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	if src.ID != nullVersion {
		header["X-Amz-Copy-Source-Version-Id"] = []string{src.ID}
	}
	doc := newDocument()
	doc.root("CopyPartResult")
	doc.time("LastModified", p.Modified)
	doc.text("ETag", `"`+p.ETag+`"`)
	if u.Algorithm != "" {
		doc.text("Checksum"+u.Algorithm, p.Sum)
	}
	doc.close("CopyPartResult")
	c.document(http.StatusOK, doc)
	return nil
}

// copyRange reads which bytes of an object of that size are to be copied.
func (c *call) copyRange(size int64) (offset, n int64, err error) {
	text := c.h.Header.Get("X-Amz-Copy-Source-Range")
	if text == "" {
		if size > maxUpload {
			return 0, 0, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", maxUpload)
		}
		return 0, size, nil
	}
	spec, ok := strings.CutPrefix(text, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	first, err := strconv.ParseUint(from, 10, 63)
	last, err2 := strconv.ParseUint(to, 10, 63)
	if !ok || !dash || err != nil || err2 != nil || last < first {
		return 0, 0, invalidArgument("x-amz-copy-source-range", text, "The x-amz-copy-source-range value must be of the form "+
			"bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	}
	offset, end := int64(first), int64(last) //nolint:gosec // they have 63 bits
	switch {
	case offset >= size:
		return 0, 0, invalidRequest("The specified copy range is invalid for the source object size")
	case end >= size:
		return 0, 0, invalidArgument("x-amz-copy-source-range", text, fmt.Sprintf("Range specified is not valid for source object of size: %d", size))
	case end-offset+1 > maxUpload:
		return 0, 0, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", maxUpload)
	}
	return offset, end - offset + 1, nil
}

// claim is a part as the client lists it when it completes an upload.
type claim struct {
	number string
	etag   string
	sums   map[string]string // by algorithm
}

func (c *call) claims() ([]claim, error) {
	c.sumOfObject = true
	text, err := c.read()
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, invalidRequest("You must specify at least one part")
	}
	doc, err := parseXML(text)
	if err != nil || doc.name != "CompleteMultipartUpload" {
		return nil, malformedXML()
	}
	var list []claim
	err = doc.each(map[string]func(*node) error{"Part": func(n *node) error {
		p := claim{sums: map[string]string{}}
		by := map[string]func(*node) error{"PartNumber": once(&p.number), "ETag": once(&p.etag)}
		for _, a := range algorithms {
			by["Checksum"+a.name] = func(n *node) error {
				var s string
				err := n.word(&s)
				p.sums[a.name] = s
				return err
			}
		}
		err := n.each(by)
		list = append(list, p)
		return err
	}})
	if err == nil && len(list) == 0 {
		err = invalidRequest("You must specify at least one part")
	}
	if err == nil && len(list) > maxParts {
		err = malformedXML()
	}
	return list, err
}

// errChanged says that a part was replaced while an upload was completed.
var errChanged = errors.New("the upload has changed")

// completion is an upload as it was looked at.
type completion struct {
	*upload
	changes int
}

// check is called with the bucket's lock when an upload is about to become an object.
func (u *completion) check(b *bucket, o *object, want condition) error {
	now, ok := b.uploads.Get(u.index())
	switch {
	case !ok || now != u.upload:
		return noSuchUpload(u.ID)
	case u.upload.changes != u.changes:
		return errChanged
	case want.absent && u.Disturbed:
		return conflict("If-None-Match", u.Key)
	case want.match != "" && o.latest().Order > u.Order:
		return conflict("If-Match", u.Key)
	}
	return nil
}

func conflict(condition, key string) error {
	return refuse(http.StatusConflict, "ConditionalRequestConflict",
		"The conditional request cannot succeed due to a conflicting operation against this resource.", "Condition", condition, "Key", key)
}

func (s *Service) completeMultipartUpload(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	want, err := c.condition()
	if err != nil {
		return err
	}
	b.mu.RLock()
	_, err = c.upload(b)
	b.mu.RUnlock()
	if err != nil {
		return err
	}
	claims, err := c.claims()
	if err != nil {
		return err
	}
	var v *version
	for {
		b.mu.RLock()
		u, err := c.upload(b)
		var parts []*part
		var numbers []int
		done := &completion{upload: u}
		if err == nil {
			done.changes = u.changes
			parts, numbers, err = u.choosePartsOf(claims)
		}
		b.mu.RUnlock()
		if err != nil {
			return err
		}
		if v, err = c.assemble(u, claims, numbers, parts); err != nil {
			return err
		}
		v, err = c.create(b, c.key, v, creation{
			name: "ObjectCreated:CompleteMultipartUpload", reason: "CompleteMultipartUpload", want: want, upload: done,
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errChanged) {
			return err
		}
	}
	header := c.w.Header()
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	v.showID(header)
	d := newDocument()
	d.root("CompleteMultipartUploadResult")
	d.text("Location", c.location())
	d.text("Bucket", c.bucket)
	d.text("Key", c.key)
	d.text("ETag", `"`+v.ETag+`"`)
	v.Sum.write(d)
	d.close("CompleteMultipartUploadResult")
	c.document(http.StatusOK, d)
	return nil
}

// location is the URL of the object.
func (c *call) location() string {
	key := strings.ReplaceAll(escapeKey(c.key), "+", "%20")
	if c.virtual {
		return c.r.Endpoint + "/" + key
	}
	return c.r.Endpoint + "/" + c.bucket + "/" + key
}

// choosePartsOf finds the parts that a client lists. The caller holds the bucket's lock.
func (u *upload) choosePartsOf(claims []claim) (parts []*part, numbers []int, err error) {
	last := 0
	for _, cl := range claims {
		n, err := strconv.Atoi(cl.number)
		if err != nil {
			return nil, nil, malformedXML()
		}
		if n <= last {
			return nil, nil, refuse(http.StatusBadRequest, "InvalidPartOrder",
				"The list of parts was not in ascending order. Parts must be ordered by part number.", "UploadId", u.ID)
		}
		last = n
		p, ok := u.parts.Get(n)
		if !ok || !sameETag(cl.etag, p.ETag) {
			return nil, nil, u.invalidPart(n, strings.Trim(cl.etag, `"`))
		}
		parts, numbers = append(parts, p), append(numbers, n)
	}
	for i, p := range parts[:len(parts)-1] {
		if p.Body.Size < minPart {
			return nil, nil, refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
				"ProposedSize", strconv.FormatInt(p.Body.Size, 10), "MinSizeAllowed", strconv.Itoa(minPart),
				"PartNumber", strconv.Itoa(numbers[i]), "ETag", p.ETag)
		}
	}
	return parts, numbers, nil
}

// agrees compares the checksum that a client states of the whole. S3 takes it for a composite one unless the type is
// stated too, or can be no other; it does not mind one by an algorithm that the upload was not begun with, if it was
// begun without any.
func (u *upload) agrees(given *algorithm, value, sum string, typed bool) bool {
	switch a := u.algorithm(); {
	case given != a:
		return u.Algorithm == ""
	case u.Type == fullObject && !typed && a.canBe(composite):
		return false
	}
	plain, _, _ := strings.Cut(sum, "-")
	return value == sum || value == plain
}

func (u *upload) invalidPart(number int, etag string) error {
	return refuse(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found.  "+
		"The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
		"UploadId", u.ID, "PartNumber", strconv.Itoa(number), "ETag", etag)
}

// assemble makes the object of an upload, and checks it against what the client says of it.
func (c *call) assemble(u *upload, claims []claim, numbers []int, parts []*part) (*version, error) {
	v := u.Version
	a := u.algorithm()
	header := c.h.Header
	if kind := strings.ToUpper(header.Get("X-Amz-Checksum-Type")); kind != "" && kind != u.Type {
		was := u.Type
		if was == "" {
			was = "null"
		}
		return nil, invalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", was)
	}
	tags := md5.New() //nolint:gosec // an ETag
	for i, p := range parts {
		sum, given := claims[i].sums[a.name]
		switch {
		case u.Algorithm == "" && len(claims[i].sums) > 0, given && sum != p.Sum:
			return nil, u.invalidPart(numbers[i], p.ETag)
		case !given && len(claims[i].sums) > 0:
			for other := range claims[i].sums {
				return nil, refuse(http.StatusBadRequest, "BadDigest",
					fmt.Sprintf("The %s you specified for part %d did not match what we received.", strings.ToLower(other), numbers[i]))
			}
		case !given && u.Type == composite:
			return nil, invalidRequest("The upload was created using a %s checksum. The complete request must include the checksum for each part. "+
				"It was missing for part %d in the request.", strings.ToLower(a.name), numbers[i])
		}
		sums, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, fmt.Errorf("the ETag of a part: %w", err)
		}
		tags.Write(sums)
		v.Size += p.Body.Size
		v.Body = append(v.Body, p.Body)
		v.Parts = append(v.Parts, partInfo{Number: numbers[i], Size: p.Body.Size, Sum: p.Sum})
	}
	v.ETag = fmt.Sprintf("%x-%d", tags.Sum(nil), len(parts))
	if text := header.Get("X-Amz-Mp-Object-Size"); text != "" && text != strconv.FormatInt(v.Size, 10) {
		return nil, invalidRequest("The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d", text, v.Size)
	}
	var err error
	if v.Sum, err = a.whole(u.kind(), v.Parts); err != nil {
		return nil, err
	}
	if u.Algorithm == "" {
		for i := range v.Parts {
			v.Parts[i].Sum = "" // only the whole has one then
		}
	}
	given, value, err := chosen(header)
	if err != nil {
		return nil, err
	}
	if given != nil && !u.agrees(given, value, v.Sum.Value, header.Get("X-Amz-Checksum-Type") != "") {
		return nil, refuse(http.StatusBadRequest, "BadDigest", "The "+strings.ToLower(a.name)+" you specified did not match the calculated checksum.")
	}
	return &v, nil
}

// removeUpload forgets an upload. It returns the pieces of its parts but for those that are kept, whose removal it adds
// to the batch. The caller holds the bucket's lock.
func (s *Service) removeUpload(batch *store.Batch, b *bucket, u *upload, kept []piece) (dropped []piece) {
	ids := map[uint64]bool{}
	for _, p := range kept {
		ids[p.ID] = true
	}
	u.parts.Scan(func(_ int, p *part) bool {
		if s.bodies.dir != "" && !ids[p.Body.ID] {
			dropped = append(dropped, p.Body)
		}
		return true
	})
	b.uploads.Delete(u.index())
	batch.Delete(b.key(uploadPrefix) + "/" + u.ID)
	batch.DeletePrefix(b.key(partPrefix) + "/" + u.ID + "/")
	s.bodies.drop(batch, dropped)
	return dropped
}

// disturb marks the uploads of a key that is deleted. The caller holds the bucket's lock.
func (s *Service) disturb(batch *store.Batch, b *bucket, key string) {
	b.uploads.Ascend(key+"\x00", func(_ string, u *upload) bool {
		if u.Key != key {
			return false
		}
		if !u.Disturbed {
			u.Disturbed = true
			s.saveUpload(batch, b, u)
		}
		return true
	})
}

func (s *Service) abortMultipartUpload(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	var batch store.Batch
	b.mu.Lock()
	u, err := c.upload(b)
	if err != nil {
		b.mu.Unlock()
		return err
	}
	dropped := s.removeUpload(&batch, b, u, nil)
	if err := c.finish(b, &batch, dropped, nil); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) listParts(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	limit, err := bounded(c.q.get("max-parts"), "max-parts", maxListed)
	if err != nil {
		return err
	}
	limit = min(limit, maxListed)
	marker, err := bounded(c.q.get("part-number-marker"), "part-number-marker", 0)
	if err != nil {
		return err
	}
	type numbered struct {
		int
		*part
	}
	var list []numbered
	more := false
	b.mu.RLock()
	u, err := c.upload(b)
	if err == nil && limit > 0 {
		u.parts.Ascend(marker+1, func(n int, p *part) bool {
			if more = len(list) == limit; !more {
				list = append(list, numbered{n, p})
			}
			return !more
		})
	}
	b.mu.RUnlock()
	if err != nil {
		return err
	}
	d := newDocument()
	d.root("ListPartsResult")
	d.text("Bucket", c.bucket)
	d.text("Key", c.key)
	d.text("UploadId", u.ID)
	c.initiator(d)
	c.owner(d)
	d.text("StorageClass", u.Version.class())
	if u.Algorithm != "" {
		d.text("ChecksumAlgorithm", u.Algorithm)
		d.text("ChecksumType", u.Type)
	}
	d.number("PartNumberMarker", int64(marker))
	next := 0
	if len(list) > 0 {
		next = list[len(list)-1].int
	}
	d.number("NextPartNumberMarker", int64(next))
	d.number("MaxParts", int64(limit))
	d.boolean("IsTruncated", more)
	for _, p := range list {
		d.open("Part")
		d.number("PartNumber", int64(p.int))
		d.time("LastModified", p.Modified)
		d.text("ETag", `"`+p.ETag+`"`)
		d.number("Size", p.Body.Size)
		if u.Algorithm != "" {
			d.text("Checksum"+u.Algorithm, p.Sum)
		}
		d.close("Part")
	}
	d.close("ListPartsResult")
	c.document(http.StatusOK, d)
	return nil
}

func (c *call) initiator(d *document) {
	d.open("Initiator")
	d.text("ID", canonicalID(c.r.Account))
	d.text("DisplayName", "millrace")
	d.close("Initiator")
}

func (s *Service) listMultipartUploads(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	l, err := c.listing("max-uploads")
	if err != nil {
		return err
	}
	marker, id := c.q.get("key-marker"), c.q.get("upload-id-marker")
	if marker == "" {
		id = "" // as S3 does
	}
	type entry struct {
		found
		u *upload
	}
	var list []entry
	more := false
	b.mu.RLock()
	if id != "" {
		if _, ok := b.uploads.Get(marker + "\x00" + id); !ok {
			b.mu.RUnlock()
			return invalidArgument("upload-id-marker", id, "Invalid uploadId marker")
		}
	}
	if l.limit > 0 {
		keyOf := func(_ string, u *upload) string { return u.Key }
		walk(&l, &b.uploads, marker, keyOf, func(shared, key string, u *upload) bool {
			switch {
			case shared != "":
				if shared <= marker {
					return true
				}
			case marker != "" && key < marker, marker != "" && key == marker && (id == "" || u.ID <= id):
				return true
			}
			if more = len(list) == l.limit; !more {
				list = append(list, entry{found{key: key, shared: shared}, u})
			}
			return !more
		})
	}
	b.mu.RUnlock()

	d := newDocument()
	d.root("ListMultipartUploadsResult")
	d.text("Bucket", c.bucket)
	l.text(d, "KeyMarker", marker)
	d.text("UploadIdMarker", id)
	nextKey, nextID := "", ""
	if len(list) > 0 {
		last := &list[len(list)-1]
		if last.shared == "" { // S3 tells no way on from a shared part
			nextKey, nextID = last.key, last.u.ID
		}
	}
	l.text(d, "NextKeyMarker", nextKey)
	d.text("NextUploadIdMarker", nextID)
	if l.prefix != "" {
		l.text(d, "Prefix", l.prefix)
	}
	d.number("MaxUploads", int64(l.limit))
	l.end(d, more)
	for _, e := range list {
		if e.shared != "" {
			continue
		}
		d.open("Upload")
		l.text(d, "Key", e.key)
		d.text("UploadId", e.u.ID)
		c.initiator(d)
		c.owner(d)
		d.text("StorageClass", e.u.Version.class())
		d.time("Initiated", e.u.Initiated)
		if e.u.Algorithm != "" {
			d.text("ChecksumAlgorithm", e.u.Algorithm)
			d.text("ChecksumType", e.u.Type)
		}
		d.close("Upload")
	}
	for _, e := range list {
		if e.shared != "" {
			d.open("CommonPrefixes")
			l.text(d, "Prefix", e.shared)
			d.close("CommonPrefixes")
		}
	}
	d.close("ListMultipartUploadsResult")
	c.document(http.StatusOK, d)
	return nil
}
