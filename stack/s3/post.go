package s3

import (
	"crypto/md5" //nolint:gosec // S3's ETags are such sums
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/internal/sigv4"
)

// maxFields bounds what precedes the file of a form.
const maxFields = 20 << 10

// form is a browser's upload up to its file
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html).
type form struct {
	fields   map[string]string // by name in small letters
	filename string
	file     io.Reader // the rest of the request
}

// get returns a field, whose name is in small letters.
func (f *form) get(name string) string { return f.fields[name] }

func readForm(h *http.Request) (*form, error) {
	r, err := h.MultipartReader()
	if err != nil {
		return nil, preconditionFailed("Bucket POST must be of the enclosure-type multipart/form-data")
	}
	malformed := refuse(http.StatusBadRequest, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
	f := &form{fields: map[string]string{}}
	total := 0
	for {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, invalidArgument("file", "0", "POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, malformed
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			f.file = part
			if f.filename = part.FileName(); f.filename != "" {
				f.filename = path.Base(strings.ReplaceAll(f.filename, `\`, "/"))
			}
			return f, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, maxFields+1))
		if err != nil {
			return nil, malformed
		}
		if total += len(name) + len(value); total > maxFields {
			return nil, refuse(http.StatusBadRequest, "MaxPostPreDataLengthExceeded",
				"Your POST request fields preceding the upload file were too large.")
		}
		if name == "" {
			return nil, malformed
		}
		f.fields[name] = string(value)
	}
}

// header is what the form says in the form of an upload's headers.
func (f *form) header() http.Header {
	h := http.Header{}
	for name, value := range f.fields {
		switch {
		case name == "acl":
			h["X-Amz-Acl"] = []string{value}
		case strings.HasPrefix(name, "x-amz-"), name == "cache-control", name == "content-type", name == "content-disposition",
			name == "content-encoding", name == "content-language", name == "expires", name == "content-md5":
			h[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
		}
	}
	return h
}

// postObject is a browser's upload by a form.
func (s *Service) postObject(c *call) error {
	f, err := readForm(c.h)
	if err != nil {
		return err
	}
	c.identify(f)
	b, err := c.open()
	if err != nil {
		return err
	}
	key, ok := f.fields["key"]
	if !ok {
		return invalidArgument("key", "", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	if c.key = key; f.filename != "" {
		c.key = strings.ReplaceAll(key, "${filename}", f.filename)
	}
	if c.key == "" {
		return invalidArgument("key", "", "User key must have a length greater than 0.")
	}
	if err := checkKey(c.key); err != nil {
		return err
	}
	least, most, err := c.checkPolicy(f)
	if err != nil {
		return err
	}
	header := f.header()
	for name, values := range header {
		if strings.HasPrefix(name, "X-Amz-") && !signing[name] {
			if err := c.checkHeader(name, values[0]); err != nil {
				return err
			}
		}
	}
	v, err := c.describe(b, header, ofForms)
	if err != nil {
		return err
	}
	if text := f.get("tagging"); text != "" {
		doc, err := parseXML([]byte(text))
		if err != nil {
			return malformedXML()
		}
		if doc.name == "Tagging" && len(doc.children) == 1 && doc.children[0].name == "TagSet" { // any other is no tags to S3
			if v.Tags, err = parseTags(doc.children[0], objectTags); err != nil {
				return err
			}
		}
	}
	if err := c.receiveFile(f, header, v, least, most); err != nil {
		return err
	}
	v, err = c.create(b, c.key, v, creation{name: "ObjectCreated:Post", reason: "POST Object"})
	if err != nil {
		return err
	}
	return c.posted(f, v)
}

// signing are the fields that sign a form.
var signing = map[string]bool{
	"X-Amz-Algorithm": true, "X-Amz-Credential": true, "X-Amz-Date": true, "X-Amz-Signature": true, "X-Amz-Security-Token": true,
}

// identify reads who signed a form.
func (c *call) identify(f *form) {
	key := f.get("awsaccesskeyid")
	if parts := strings.Split(f.get("x-amz-credential"), "/"); len(parts) >= 5 {
		n := len(parts)
		key, c.r.Region = strings.Join(parts[:n-4], "/"), parts[n-3]
	}
	if key == "" {
		return
	}
	c.r.AccessKey = key
	if isAccount(key) {
		c.r.Account = key
	}
	c.old = f.get("awsaccesskeyid") != ""
}

// receiveFile reads the file of a form.
func (c *call) receiveFile(f *form, header http.Header, v *version, least, most int64) error {
	a, value, err := chosen(header)
	if err != nil {
		return err
	}
	if a != nil {
		if err := a.check(value); err != nil {
			return err
		}
	}
	claimed := a != nil
	if a == nil {
		a = algorithmOf(defaultAlgorithm)
	}
	wantMD5, err := contentMD5(header)
	if err != nil {
		return err
	}
	d := digests{md5: md5.New(), sum: a.make()} //nolint:gosec // an ETag
	w := c.s.bodies.writer(64 << 10)
	var body piece
	err = pour(w, f.file, -1, min(most, maxUpload), &d)
	var large *failure
	switch {
	case errors.As(err, &large) && large.code == "MaxMessageLengthExceeded":
		rest, _ := io.Copy(io.Discard, f.file)
		err = refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size",
			"ProposedSize", strconv.FormatInt(w.size+rest, 10), "MaxSizeAllowed", strconv.FormatInt(min(most, maxUpload), 10))
	case err == nil && w.size < least:
		err = refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
			"ProposedSize", strconv.FormatInt(w.size, 10), "MinSizeAllowed", strconv.FormatInt(least, 10))
	}
	sum := d.md5.Sum(nil)
	switch {
	case err != nil:
	case wantMD5 != nil && string(wantMD5) != string(sum):
		err = refuse(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	case claimed && value != a.encode(d.sum):
		err = badDigest(a)
	default:
		body, err = w.finish()
	}
	if err != nil {
		w.discard()
		return err
	}
	v.Size, v.ETag, v.Body = body.Size, fmt.Sprintf("%x", sum), []piece{body}
	v.Sum = checksum{Algorithm: a.name, Type: fullObject, Value: a.encode(d.sum)}
	return nil
}

// posted answers a form as it asks to be.
func (c *call) posted(f *form, v *version) error {
	header := c.w.Header()
	header["ETag"] = []string{`"` + v.ETag + `"`}
	header["Location"] = []string{c.location()}
	header["X-Amz-Server-Side-Encryption"] = []string{"AES256"}
	v.Sum.headers(header)
	v.showID(header)
	target := f.get("success_action_redirect")
	if target == "" {
		target = f.get("redirect")
	}
	if u, err := url.Parse(target); err == nil && u.Scheme != "" && u.Host != "" {
		q := u.Query()
		q.Set("bucket", c.bucket)
		q.Set("key", c.key)
		q.Set("etag", `"`+v.ETag+`"`)
		u.RawQuery = q.Encode()
		header["Location"] = []string{u.String()}
		c.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	switch f.get("success_action_status") {
	case "200":
	case "201":
		d := newDocument()
		d.open("PostResponse")
		d.text("Location", c.location())
		d.text("Bucket", c.bucket)
		d.text("Key", c.key)
		d.text("ETag", `"`+v.ETag+`"`)
		d.close("PostResponse")
		c.document(http.StatusCreated, d)
	default:
		c.w.WriteHeader(http.StatusNoContent)
	}
	return nil
}

// checkPolicy holds a form against the policy in it, and returns how large the file may be.
func (c *call) checkPolicy(f *form) (least, most int64, err error) {
	most = maxUpload
	text, ok := f.fields["policy"]
	check := sigv4.FormCheck(c.h.Context())
	if !ok {
		if check != nil {
			return 0, 0, accessDenied()
		}
		return 0, most, nil
	}
	need := []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"}
	_, old := f.fields["awsaccesskeyid"]
	if _, oldSignature := f.fields["signature"]; old || oldSignature {
		need = []string{"AWSAccessKeyId", "Signature"}
	}
	signed := 0
	for _, name := range need {
		if _, ok := f.fields[strings.ToLower(name)]; ok {
			signed++
		}
	}
	if signed == 0 {
		return 0, 0, accessDenied()
	}
	for _, name := range need {
		if _, ok := f.fields[strings.ToLower(name)]; !ok {
			return 0, 0, invalidArgument(name, "", "Bucket POST must contain a field named '"+name+"'.  If it is specified, please check the order of the fields.")
		}
	}
	if check != nil {
		if err := check(f.fields); err != nil {
			return 0, 0, err
		}
	}
	return f.hold(text, c.bucket, c.key, c.s.env.Clock.Now())
}

func invalidPolicy(format string, args ...any) error {
	return refuse(http.StatusForbidden, "AccessDenied", "Invalid according to Policy: "+fmt.Sprintf(format, args...))
}

// hold checks the fields of a form against a policy
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html).
func (f *form) hold(text, bucket, key string, now time.Time) (least, most int64, err error) {
	malformed := refuse(http.StatusBadRequest, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON.")
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return 0, 0, malformed
	}
	var policy struct {
		Expiration string `json:"expiration"`
		Conditions []any  `json:"conditions"`
	}
	if err := json.Unmarshal(data, &policy); err != nil {
		return 0, 0, malformed
	}
	end, err := time.Parse(time.RFC3339, policy.Expiration)
	if err != nil {
		return 0, 0, refuse(http.StatusBadRequest, "InvalidPolicyDocument", "Invalid Policy: Invalid 'expiration' value: '"+policy.Expiration+"'")
	}
	if now.After(end) {
		return 0, 0, invalidPolicy("Policy expired.")
	}
	most = maxUpload
	covered := map[string]bool{}
	value := func(name string) string {
		switch name {
		case "bucket":
			return bucket
		case "key":
			return key
		}
		return f.fields[name]
	}
	for _, condition := range policy.Conditions {
		switch c := condition.(type) {
		case map[string]any:
			if len(c) != 1 {
				return 0, 0, refuse(http.StatusBadRequest, "InvalidPolicyDocument",
					"Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
			}
			for name, want := range c {
				name = strings.ToLower(name)
				covered[name] = true
				if w, ok := want.(string); !ok || value(name) != w {
					return 0, 0, invalidPolicy(`Policy Condition failed: ["eq", "$%s", %s]`, name, show(want))
				}
			}
		case []any:
			failed := func() error { return invalidPolicy("Policy Condition failed: %s", show(c)) }
			if len(c) != 3 {
				return 0, 0, refuse(http.StatusBadRequest, "InvalidPolicyDocument", "Invalid Policy: Invalid Condition: wrong number of arguments.")
			}
			op, _ := c[0].(string)
			if op = strings.ToLower(op); op == "content-length-range" {
				a, ok := whole(c[1])
				z, ok2 := whole(c[2])
				if !ok || !ok2 {
					return 0, 0, failed()
				}
				least, most = max(least, a), min(most, z)
				continue
			}
			name, ok := c[1].(string)
			want, ok2 := c[2].(string)
			name, dollar := strings.CutPrefix(strings.ToLower(name), "$")
			if !ok || !ok2 || !dollar {
				return 0, 0, failed()
			}
			covered[name] = true
			switch {
			case op == "eq" && value(name) == want:
			case op == "starts-with" && strings.HasPrefix(value(name), want):
			default:
				return 0, 0, failed()
			}
		default:
			return 0, 0, malformed
		}
	}
	for name := range f.fields {
		switch name {
		case "policy", "signature", "awsaccesskeyid", "x-amz-signature":
			continue
		}
		if !covered[name] && !strings.HasPrefix(name, "x-ignore-") {
			return 0, 0, invalidPolicy("Extra input fields: %s", name)
		}
	}
	return least, most, nil
}

// show writes a condition as S3 does in its refusals.
func show(v any) string {
	if list, ok := v.([]any); ok {
		parts := make([]string, len(list))
		for i, e := range list {
			parts[i] = show(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(text)
}

// whole reads a number of bytes.
func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case float64:
		return int64(v), v >= 0 && v < 1<<53 && v == float64(int64(v))
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil && n >= 0
	}
	return 0, false
}
