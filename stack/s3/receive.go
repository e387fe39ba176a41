package s3

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETags are such sums
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/sigv4"
)

const (
	maxUpload   = 5 << 30 // bytes of one request
	maxDocument = 8 << 20
)

// received is a body that has arrived as its headers said it would.
type received struct {
	piece piece
	md5   [md5.Size]byte
	sum   checksum
	// claimed is set if the client chose the checksum.
	claimed bool
	// also is the value by the algorithm that was asked for, which may be another than the client's.
	also string
}

func (r *received) etag() string { return hex.EncodeToString(r.md5[:]) }

// receive takes the body of an upload. The checksum is that which the client chose, else of the algorithm given.
func (c *call) receive(fallback string) (*received, error) {
	if len(c.h.TransferEncoding) > 0 && !sigv4.IsChunked(c.h.Header.Get("X-Amz-Content-Sha256")) {
		return nil, unsupportedHeader("Transfer-Encoding")
	}
	if c.h.Header["Content-Length"] == nil && len(c.h.TransferEncoding) == 0 {
		return nil, refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	size, err := c.declaredSize()
	if err != nil {
		return nil, err
	}
	if size > maxUpload {
		return nil, refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size",
			"MaxSizeAllowed", strconv.Itoa(maxUpload), "ProposedSize", strconv.FormatInt(size, 10))
	}
	w := c.s.bodies.writer(size)
	rec, err := c.take(w, size, maxUpload, fallback)
	if err == nil {
		rec.piece, err = w.finish()
	}
	if err != nil {
		w.discard()
		return nil, err
	}
	return rec, nil
}

// read takes the body of a request that is a document.
func (c *call) read() ([]byte, error) {
	size, err := c.declaredSize()
	if err != nil {
		return nil, err
	}
	w := (&bodies{}).writer(min(max(size, 0), maxDocument))
	if _, err := c.take(w, size, maxDocument, ""); err != nil {
		return nil, err
	}
	return w.data, nil
}

// readXML is read, parsed. The outermost element must have the name.
func (c *call) readXML(root string) (*node, error) {
	text, err := c.read()
	if err != nil {
		return nil, err
	}
	n, err := parseXML(text)
	if err != nil || n.name != root {
		return nil, malformedXML()
	}
	return n, nil
}

// declaredSize is how long the body is, -1 if that is not said.
func (c *call) declaredSize() (int64, error) {
	if !sigv4.IsChunked(c.h.Header.Get("X-Amz-Content-Sha256")) {
		return c.h.ContentLength, nil
	}
	text := c.h.Header.Get("X-Amz-Decoded-Content-Length")
	if text == "" {
		return 0, refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, invalidArgument("x-amz-decoded-content-length", text, "The x-amz-decoded-content-length header is not a valid length.")
	}
	return n, nil
}

// take reads the body into w, and checks it against everything that the request says of it.
func (c *call) take(w *writer, size, most int64, fallback string) (*received, error) {
	header := c.h.Header
	body := io.Reader(c.h.Body)
	declared := header.Get("X-Amz-Content-Sha256")
	chunks, _ := c.h.Body.(*sigv4.Chunked)
	if chunks == nil && sigv4.IsChunked(declared) {
		var err error
		if chunks, err = sigv4.NewChunked(c.h.Body, declared); err != nil {
			return nil, err
		}
		body = chunks
	}

	wantMD5, err := contentMD5(header)
	if err != nil {
		return nil, err
	}
	var (
		a        *algorithm
		value    string
		trailing bool
	)
	if !c.sumOfObject {
		a, value, err = chosen(header)
	}
	if err != nil {
		return nil, err
	}
	if name := header.Get("X-Amz-Trailer"); name != "" {
		if a != nil {
			return nil, invalidRequest("Expecting a single x-amz-checksum- header")
		}
		for i := range algorithms {
			if strings.EqualFold(algorithms[i].header, strings.TrimSpace(name)) {
				a, trailing = &algorithms[i], true
			}
		}
		if a == nil || chunks == nil {
			return nil, invalidRequest("The value specified in the x-amz-trailer header is not supported")
		}
	}
	if name := header.Get("X-Amz-Sdk-Checksum-Algorithm"); name != "" && !c.sumOfObject {
		switch wanted := algorithmOf(strings.ToUpper(name)); {
		case wanted == nil:
			return nil, unsupportedAlgorithm()
		case a == nil && wantMD5 == nil:
			return nil, invalidRequest("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
		case a != nil && a != wanted:
			return nil, invalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
		}
	}
	if a != nil && !trailing {
		if err := a.check(value); err != nil {
			return nil, err
		}
	}

	rec := &received{claimed: a != nil}
	d := digests{md5: md5.New()} //nolint:gosec // an ETag
	wanted := algorithmOf(fallback)
	if a == nil {
		a = wanted
	}
	if a != nil {
		d.sum = a.make()
	}
	if wanted != nil && wanted != a { // parts are summed up by the upload's algorithm
		d.also = wanted.make()
	}
	if _, checked := c.h.Body.(*sigv4.Hashed); !checked && len(declared) == 2*sha256.Size {
		d.sha256 = sha256.New()
	}
	if err := pour(w, body, size, most, &d); err != nil {
		return nil, err
	}

	d.md5.Sum(rec.md5[:0])
	if wantMD5 != nil && !bytes.Equal(wantMD5, rec.md5[:]) {
		expected := hex.EncodeToString(wantMD5)
		if c.q.has("partNumber") { // S3 shows it in another form here
			expected = base64.StdEncoding.EncodeToString(wantMD5)
		}
		return nil, refuse(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.",
			"ExpectedDigest", expected, "CalculatedDigest", base64.StdEncoding.EncodeToString(rec.md5[:]))
	}
	if d.sha256 != nil {
		if sum := hex.EncodeToString(d.sha256.Sum(nil)); !strings.EqualFold(sum, declared) {
			return nil, refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch",
				"The provided 'x-amz-content-sha256' header does not match what was computed.",
				"ClientComputedContentSHA256", declared, "S3ComputedContentSHA256", sum)
		}
	}
	if a == nil {
		return rec, nil
	}
	rec.sum = checksum{Algorithm: a.name, Type: fullObject, Value: a.encode(d.sum)}
	if trailing {
		value = chunks.Trailer().Get(a.header)
		if value == "" {
			return nil, refuse(http.StatusBadRequest, "MalformedTrailerError",
				"The request contained trailing data that was not well-formed or did not conform to our published schema.")
		}
		if err := a.check(value); err != nil {
			return nil, err
		}
	}
	if rec.claimed && value != rec.sum.Value {
		return nil, badDigest(a)
	}
	if rec.also = rec.sum.Value; d.also != nil {
		rec.also = wanted.encode(d.also)
	}
	return rec, nil
}

func badDigest(a *algorithm) error {
	return refuse(http.StatusBadRequest, "BadDigest", "The "+a.name+" you specified did not match the calculated checksum.")
}

func contentMD5(header http.Header) ([]byte, error) {
	v := header["Content-Md5"]
	if v == nil {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(v[0])
	if err != nil || len(sum) != md5.Size {
		return nil, refuse(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.", "Content-MD5", v[0])
	}
	return sum, nil
}

// digests are the sums that are taken of a body as it passes. All but the first may be nil.
type digests struct {
	md5, sum, also, sha256 hash.Hash
}

func (d *digests) write(p []byte) {
	d.md5.Write(p)
	if d.sum != nil {
		d.sum.Write(p)
	}
	if d.also != nil {
		d.also.Write(p)
	}
	if d.sha256 != nil {
		d.sha256.Write(p)
	}
}

// pour reads a body of a declared size, or if that is below 0 of at most so many bytes.
func pour(w *writer, body io.Reader, size, most int64, d *digests) error {
	for w.size < size || size < 0 {
		p := w.buffer()
		if size >= 0 && int64(len(p)) > size-w.size {
			p = p[:size-w.size]
		}
		n, err := body.Read(p)
		d.write(p[:n])
		if e := w.wrote(n); e != nil {
			return e
		}
		if w.size > most {
			return refuse(http.StatusBadRequest, "MaxMessageLengthExceeded", "Your request was too big.")
		}
		if errors.Is(err, io.EOF) {
			if w.size < size {
				return incompleteBody()
			}
			return nil
		}
		if err != nil {
			return readError(err)
		}
	}
	// All bytes are there. What checks them says so only at the end.
	var more [1]byte
	n, err := io.ReadFull(body, more[:])
	switch {
	case n > 0:
		return incompleteBody()
	case errors.Is(err, io.EOF):
		return nil
	default:
		return readError(err)
	}
}

func incompleteBody() error {
	return refuse(http.StatusBadRequest, "IncompleteBody",
		"You did not provide the number of bytes specified by the Content-Length HTTP header")
}

func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return incompleteBody()
	}
	return err
}
