package s3

import (
	"net/http"
	"net/url"
	"strings"
)

// address is what a request names: nothing, a bucket, or an object.
type address struct {
	bucket, key string
	virtual     bool // the bucket is in the host
}

// addressOf reads the path, and the host for a bucket: "photos.localhost", "photos.s3.localhost" and
// "photos.s3.eu-west-1.amazonaws.com" name one, any other host does not.
func addressOf(host, path string) address {
	bucket := bucketOfHost(host)
	path = strings.TrimPrefix(path, "/")
	if bucket != "" {
		return address{bucket: bucket, key: path, virtual: true}
	}
	bucket, key, _ := strings.Cut(path, "/")
	return address{bucket: bucket, key: key}
}

func bucketOfHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || !isLetter(host[len(host)-1]) || !strings.Contains(host, ".") { // an address, or no domain
		return ""
	}
	host = strings.ToLower(host)
	labels := strings.Split(host, ".")
	for i := len(labels) - 1; i >= 0; i-- { // from the end: a bucket's name may have an s3 in it
		if labels[i] == "s3" || strings.HasPrefix(labels[i], "s3-") {
			return strings.Join(labels[:i], ".")
		}
	}
	bucket, ok := strings.CutSuffix(host, ".localhost")
	if !ok {
		return ""
	}
	return bucket
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// params are the parameters of a query, in order.
type params []param

type param struct{ name, value string }

func parseParams(raw string) params {
	if raw == "" {
		return nil
	}
	list := make(params, 0, strings.Count(raw, "&")+1)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		list = append(list, param{unescape(k), unescape(v)})
	}
	return list
}

// unescape decodes a part of a query. What is not decodable stays as it is.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if d, err := url.QueryUnescape(s); err == nil {
		return d
	}
	return s
}

func (p params) has(name string) bool {
	for i := range p {
		if p[i].name == name {
			return true
		}
	}
	return false
}

// get returns the first value of a name, "" if there is none.
func (p params) get(name string) string {
	for i := range p {
		if p[i].name == name {
			return p[i].value
		}
	}
	return ""
}

// operation is one of S3's.
type operation struct {
	name  string
	serve func(*Service, *call) error
}

// route is what tells operations apart: the method, whether there is a key, and the subresource, which is the name
// of a parameter.
type route struct {
	method string
	object bool
	sub    string
}

// The operations of S3 that need more to be told apart than a route are found in operationOf.
var operations = map[route]operation{
	{"GET", false, "location"}:             {"GetBucketLocation", (*Service).getBucketLocation},
	{"GET", false, "uploads"}:              {"ListMultipartUploads", (*Service).listMultipartUploads},
	{"GET", false, "versions"}:             {"ListObjectVersions", (*Service).listObjectVersions},
	{"GET", false, "versioning"}:           {"GetBucketVersioning", (*Service).getBucketVersioning},
	{"PUT", false, "versioning"}:           {"PutBucketVersioning", (*Service).putBucketVersioning},
	{"GET", false, "tagging"}:              {"GetBucketTagging", (*Service).getBucketTagging},
	{"PUT", false, "tagging"}:              {"PutBucketTagging", (*Service).putBucketTagging},
	{"DELETE", false, "tagging"}:           {"DeleteBucketTagging", (*Service).deleteBucketTagging},
	{"GET", false, "notification"}:         {"GetBucketNotificationConfiguration", (*Service).getNotification},
	{"PUT", false, "notification"}:         {"PutBucketNotificationConfiguration", (*Service).putNotification},
	{"GET", false, "acl"}:                  {"GetBucketAcl", (*Service).getBucketACL},
	{"PUT", false, "acl"}:                  {"PutBucketAcl", (*Service).putBucketACL},
	{"GET", false, "ownershipControls"}:    {"GetBucketOwnershipControls", (*Service).getOwnership},
	{"PUT", false, "ownershipControls"}:    {"PutBucketOwnershipControls", (*Service).putOwnership},
	{"DELETE", false, "ownershipControls"}: {"DeleteBucketOwnershipControls", (*Service).deleteOwnership},
	{"GET", false, "publicAccessBlock"}:    {"GetPublicAccessBlock", (*Service).getPublicAccessBlock},
	{"PUT", false, "publicAccessBlock"}:    {"PutPublicAccessBlock", (*Service).putPublicAccessBlock},
	{"DELETE", false, "publicAccessBlock"}: {"DeletePublicAccessBlock", (*Service).deletePublicAccessBlock},
	{"POST", false, "delete"}:              {"DeleteObjects", (*Service).deleteObjects},
	{"PUT", false, ""}:                     {"CreateBucket", (*Service).createBucket},
	{"HEAD", false, ""}:                    {"HeadBucket", (*Service).headBucket},
	{"DELETE", false, ""}:                  {"DeleteBucket", (*Service).deleteBucket},
	{"GET", false, ""}:                     {"ListObjects", (*Service).listObjects},
	{"POST", false, ""}:                    {"PostObject", (*Service).postObject},

	{"GET", true, "tagging"}:    {"GetObjectTagging", (*Service).getObjectTagging},
	{"PUT", true, "tagging"}:    {"PutObjectTagging", (*Service).putObjectTagging},
	{"DELETE", true, "tagging"}: {"DeleteObjectTagging", (*Service).deleteObjectTagging},
	{"GET", true, "acl"}:        {"GetObjectAcl", (*Service).getObjectACL},
	{"PUT", true, "acl"}:        {"PutObjectAcl", (*Service).putObjectACL},
	{"GET", true, "attributes"}: {"GetObjectAttributes", (*Service).getObjectAttributes},
	{"POST", true, "uploads"}:   {"CreateMultipartUpload", (*Service).createMultipartUpload},
	{"PUT", true, "uploadId"}:   {"UploadPart", (*Service).uploadPart},
	{"POST", true, "uploadId"}:  {"CompleteMultipartUpload", (*Service).completeMultipartUpload},
	{"DELETE", true, "uploadId"}: {"AbortMultipartUpload",
		(*Service).abortMultipartUpload},
	{"GET", true, "uploadId"}: {"ListParts", (*Service).listParts},
	{"GET", true, ""}:         {"GetObject", (*Service).getObject},
	{"HEAD", true, ""}:        {"HeadObject", (*Service).getObject},
	{"PUT", true, ""}:         {"PutObject", (*Service).putObject},
	{"DELETE", true, ""}:      {"DeleteObject", (*Service).deleteObject},
}

var (
	listBuckets    = operation{"ListBuckets", (*Service).listBuckets}
	listObjectsV2  = operation{"ListObjectsV2", (*Service).listObjectsV2}
	copyObject     = operation{"CopyObject", (*Service).copyObject}
	uploadPartCopy = operation{"UploadPartCopy", (*Service).uploadPartCopy}
)

// subresources are the parameters that ask for something other than the bucket or the object itself. The stack has
// those that are in operations; the others it refuses.
var subresources = map[string]bool{
	"abac": true, "accelerate": true, "acl": true, "analytics": true, "annotation": true, "attributes": true,
	"cors": true, "delete": true, "encryption": true, "intelligent-tiering": true, "inventory": true,
	"legal-hold": true, "lifecycle": true, "location": true, "logging": true, "metadataConfiguration": true,
	"metadataInventoryTable": true, "metadataJournalTable": true, "metadataTable": true, "metrics": true,
	"notification": true, "object-lock": true, "ownershipControls": true, "policy": true, "policyStatus": true,
	"publicAccessBlock": true, "renameObject": true, "replication": true, "requestPayment": true, "restore": true,
	"retention": true, "select": true, "session": true, "tagging": true, "torrent": true, "uploadId": true,
	"uploads": true, "versioning": true, "versions": true, "website": true,
}

// operationOf finds the operation that a request asks for. If there is none its name is empty and the error says why.
func operationOf(h *http.Request, a address, q params) (operation, error) {
	sub := ""
	for i := range q {
		if subresources[q[i].name] {
			sub = q[i].name
			break
		}
	}
	if a.bucket == "" {
		if h.Method == http.MethodGet && sub == "" {
			return listBuckets, nil
		}
		return operation{}, methodNotAllowed(h.Method, "SERVICE")
	}
	op, ok := operations[route{h.Method, a.key != "", sub}]
	copies := h.Header["X-Amz-Copy-Source"] != nil
	switch {
	case !ok && sub != "":
		return operation{}, refuse(http.StatusNotImplemented, "NotImplemented",
			"millrace's local stack does not have "+h.Method+" ?"+sub+" of S3", "Resource", h.URL.Path)
	case !ok && a.key != "":
		return operation{}, methodNotAllowed(h.Method, "OBJECT")
	case !ok:
		return operation{}, methodNotAllowed(h.Method, "BUCKET")
	case op.name == "PutObject" && copies:
		return copyObject, nil
	case op.name == "UploadPart" && copies:
		return uploadPartCopy, nil
	case op.name == "ListObjects" && q.get("list-type") == "2":
		return listObjectsV2, nil
	}
	return op, nil
}
