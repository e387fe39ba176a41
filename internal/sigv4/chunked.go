package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The values of X-Amz-Content-Sha256 that announce a body in chunks
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html).
const (
	streaming         = "STREAMING-"
	streamingSigned   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

const (
	maxChunkLine    = 4 << 10
	maxTrailer      = 16 << 10
	minChunk        = 8 << 10 // of all but the last, says S3
	emptySum        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	trailerSignLine = "x-amz-trailer-signature"
)

// Chunked reads a body in the encoding aws-chunked. It checks the signatures of the chunks if it was made by
// VerifyS3, when what it returns is not to be trusted before io.EOF. It is for one goroutine.
type Chunked struct {
	src      *bufio.Reader
	body     io.Closer
	signed   bool
	trailers bool
	check    *chunkSigner // nil if signatures are not checked

	left    uint64 // of this chunk
	short   bool   // this chunk is shorter than all but the last may be
	claimed string // this chunk's signature
	begun   bool
	err     error
	trailer http.Header
}

// IsChunked reports whether a value of X-Amz-Content-Sha256 announces chunks.
func IsChunked(contentSHA256 string) bool { return strings.HasPrefix(contentSHA256, streaming) }

// NewChunked reads chunks of the sort that contentSHA256 announces, and does not look at their signatures.
func NewChunked(body io.ReadCloser, contentSHA256 string) (*Chunked, error) {
	c := &Chunked{body: body}
	switch contentSHA256 {
	case streamingSigned:
		c.signed = true
	case streamingTrailer:
		c.signed, c.trailers = true, true
	case streamingUnsigned:
		c.trailers = true
	default:
		return nil, invalidPayload()
	}
	c.src = bufio.NewReaderSize(body, maxChunkLine)
	return c, nil
}

// Trailer holds the headers that followed the last chunk, once Read has returned io.EOF.
func (c *Chunked) Trailer() http.Header { return c.trailer }

// Close closes the body below.
func (c *Chunked) Close() error { return c.body.Close() }

// Read reads what the chunks hold. A body that is not in chunks, ends too early or is signed wrongly is an *Error.
func (c *Chunked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.src.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n) //nolint:gosec // Read does not return less than 0
	if c.check != nil {
		c.check.data.Write(p[:n])
	}
	if err != nil {
		c.err = incompleteBody(err)
		return n, c.err
	}
	if c.left == 0 {
		c.err = c.endChunk()
	}
	return n, c.err
}

func incompleteBody(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Code: "IncompleteBody", Status: http.StatusBadRequest, Message: "The request body terminated unexpectedly"}
	}
	return err
}

func malformedChunk() error {
	return &Error{Code: "IncompleteBody", Status: http.StatusBadRequest,
		Message: "The request body is not in the aws-chunked encoding that its headers announce"}
}

// next reads the line before a chunk, and after the last one all that follows: then it returns io.EOF.
func (c *Chunked) next() error {
	line, err := c.line()
	if err != nil {
		return incompleteBody(err)
	}
	size, extension, _ := strings.Cut(line, ";")
	c.claimed = ""
	if k, v, ok := strings.Cut(extension, "="); ok && k == "chunk-signature" {
		c.claimed = v
	}
	n, err := strconv.ParseUint(size, 16, 62)
	if err != nil || c.signed && c.claimed == "" {
		return malformedChunk()
	}
	if n > 0 {
		if c.begun && c.short {
			return &Error{Code: "InvalidChunkSizeError", Status: http.StatusForbidden,
				Message: "Only the last chunk is allowed to have a size less than 8192 bytes"}
		}
		c.begun, c.short, c.left = true, n < minChunk, n
		return nil
	}
	if c.check != nil {
		if err := c.check.chunk(c.claimed); err != nil {
			return err
		}
	}
	if err := c.end(); err != nil {
		return err
	}
	return io.EOF
}

// endChunk reads what follows the bytes of a chunk, and checks it.
func (c *Chunked) endChunk() error {
	line, err := c.line()
	if err != nil {
		return incompleteBody(err)
	}
	if line != "" {
		return malformedChunk()
	}
	if c.check != nil {
		return c.check.chunk(c.claimed)
	}
	return nil
}

// end reads the trailer, up to the empty line or the end of the body.
func (c *Chunked) end() error {
	c.trailer = http.Header{}
	var canonical []byte
	signature, total := "", 0
	for {
		line, err := c.line()
		if errors.Is(err, io.EOF) { // some clients leave out the last empty line
			break
		}
		if err != nil {
			return incompleteBody(err)
		}
		if line == "" {
			break
		}
		if total += len(line); total > maxTrailer || !c.trailers {
			return malformedChunk()
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return malformedChunk()
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if name == trailerSignLine {
			signature = value
			continue
		}
		canonical = append(append(append(append(canonical, name...), ':'), value...), '\n')
		c.trailer.Add(name, value)
	}
	if c.check != nil && c.signed && c.trailers {
		return c.check.trailer(signature, canonical)
	}
	return nil
}

// line reads a line without its end. If there is none left it returns io.EOF.
func (c *Chunked) line() (string, error) {
	b, err := c.src.ReadSlice('\n')
	if err != nil {
		if errors.Is(err, bufio.ErrBufferFull) || len(b) > 0 && errors.Is(err, io.EOF) {
			return "", malformedChunk()
		}
		return "", err
	}
	return string(bytes.TrimSuffix(b[:len(b)-1], []byte("\r"))), nil
}

// chunkSigner computes the chain of signatures that begins with the request's own.
type chunkSigner struct {
	key      []byte
	scope    string // the lines of date and scope
	previous string
	data     hash.Hash
}

func newChunkSigner(key []byte, s signature) *chunkSigner {
	return &chunkSigner{
		key:      key,
		scope:    s.date.Format(basicTime) + "\n" + s.day + "/" + s.region + "/" + s.service + "/aws4_request\n",
		previous: hex.EncodeToString(s.digest),
		data:     sha256.New(),
	}
}

func (k *chunkSigner) chunk(claimed string) error {
	sum := hex.EncodeToString(k.data.Sum(nil))
	k.data.Reset()
	return k.compare(claimed, "AWS4-HMAC-SHA256-PAYLOAD\n"+k.scope+k.previous+"\n"+emptySum+"\n"+sum)
}

func (k *chunkSigner) trailer(claimed string, canonical []byte) error {
	sum := sha256.Sum256(canonical)
	return k.compare(claimed, "AWS4-HMAC-SHA256-TRAILER\n"+k.scope+k.previous+"\n"+hex.EncodeToString(sum[:]))
}

func (k *chunkSigner) compare(claimed, text string) error {
	want := hex.EncodeToString(mac(k.key, text))
	if !hmac.Equal([]byte(want), []byte(claimed)) {
		return &Error{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden, Message: doesNotMatch, Members: map[string]any{
			"StringToSign": text, "SignatureProvided": clip(claimed),
		}}
	}
	k.previous = want
	return nil
}

// doesNotMatch is S3's sentence; other services have a longer one.
const doesNotMatch = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
