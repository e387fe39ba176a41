package s3

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/millrace/millrace/internal/sigv4"
	"github.com/millrace/millrace/stack/wire"
)

// failure is a refusal in S3's terms
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
type failure struct {
	status        int
	code, message string
	// members are the elements beside Code and Message, name and value in turn.
	members []string
	// header goes with the answer.
	header http.Header
}

func (f *failure) Error() string { return f.code + ": " + f.message }

func refuse(status int, code, message string, members ...string) *failure {
	return &failure{status: status, code: code, message: message, members: members}
}

func invalidArgument(name, value, message string) *failure {
	return refuse(http.StatusBadRequest, "InvalidArgument", message, "ArgumentName", name, "ArgumentValue", value)
}

func invalidRequest(format string, args ...any) *failure {
	return refuse(http.StatusBadRequest, "InvalidRequest", fmt.Sprintf(format, args...))
}

func malformedXML() *failure {
	return refuse(http.StatusBadRequest, "MalformedXML",
		"The XML you provided was not well-formed or did not validate against our published schema")
}

func noSuchBucket(name string) *failure {
	return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist", "BucketName", name)
}

func noSuchKey(key string) *failure {
	return refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.", "Key", key)
}

func noSuchVersion(key, id string) *failure {
	return refuse(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.", "Key", key, "VersionId", id)
}

func noSuchUpload(id string) *failure {
	return refuse(http.StatusNotFound, "NoSuchUpload",
		"The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
		"UploadId", id)
}

func methodNotAllowed(method, resource string) *failure {
	return refuse(http.StatusMethodNotAllowed, "MethodNotAllowed",
		"The specified method is not allowed against this resource.", "Method", method, "ResourceType", resource)
}

func preconditionFailed(condition string) *failure {
	return refuse(http.StatusPreconditionFailed, "PreconditionFailed",
		"At least one of the pre-conditions you specified did not hold", "Condition", condition)
}

// unsupportedHeader refuses what a header asks for and the stack does not have.
func unsupportedHeader(name string) *failure {
	return refuse(http.StatusNotImplemented, "NotImplemented",
		"A header you provided implies functionality that is not implemented by millrace's local stack", "Header", name)
}

func accessDenied() *failure { return refuse(http.StatusForbidden, "AccessDenied", "Access Denied") }

// notModified has no document.
var errNotModified = errors.New("not modified")

// hostID is what S3 calls the extended request id.
func hostID(requestID string) string {
	return base64.StdEncoding.EncodeToString([]byte("millrace/" + requestID))
}

// refuse answers with an error.
func (c *call) refuse(err error) {
	if err == errNotModified { //nolint:errorlint // it is never wrapped
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	var (
		f *failure
		e *wire.Error
		v *sigv4.Error
	)
	switch {
	case errors.As(err, &f):
	case errors.Is(err, errGone):
		f = noSuchKey(c.key)
	case errors.As(err, &e):
		f = refuse(e.Status, e.Code, e.Message)
		if f.status == 0 {
			f.status = http.StatusBadRequest
		}
		f.members = texts(e.Members)
	case errors.As(err, &v):
		f = refuse(v.Status, v.Code, v.Message, texts(v.Members)...)
	case c.h.Context().Err() != nil:
		return // the client has gone
	default:
		c.s.env.Log.Error("an operation of the local stack failed",
			"service", "s3", "operation", c.r.Operation, "request", c.r.ID, "error", err)
		f = refuse(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
	}
	header := c.w.Header()
	for k, v := range f.header {
		header[k] = v
	}
	if c.h.Method == http.MethodHead {
		c.w.WriteHeader(f.status)
		return
	}
	x := newDocument()
	x.open("Error")
	x.text("Code", f.code)
	x.text("Message", f.message)
	for i := 0; i+1 < len(f.members); i += 2 {
		x.text(f.members[i], f.members[i+1])
	}
	x.text("RequestId", c.r.ID)
	x.text("HostId", hostID(c.r.ID))
	x.close("Error")
	c.document(f.status, x)
}

// texts makes name and value in turn of an error's members.
func texts(members map[string]any) []string {
	var list []string
	for name, value := range members {
		switch v := value.(type) {
		case string:
			list = append(list, name, v)
		case int:
			list = append(list, name, strconv.Itoa(v))
		}
	}
	return list
}
