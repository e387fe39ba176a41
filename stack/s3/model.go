package s3

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/btree"
)

// bucket is a bucket. What is exported survives in the store.
type bucket struct {
	bucketID
	mu   sync.RWMutex
	gone bool // deleted or forgotten: nothing may be changed any more

	settings settings
	objects  btree.Map[string, *object] // by key
	uploads  btree.Map[string, *upload] // by key, a zero byte, and id
}

// settings are what a bucket is besides its objects. A value is never changed after it is in a bucket.
type settings struct {
	Region     string
	Constraint string `json:",omitempty"` // as it was created: "EU" is a region's old name
	Created    time.Time
	Versioning string // "", Enabled or Suspended
	Tags       []tag  `json:",omitempty"`
	// Ownership is the ObjectOwnership of its controls, "" if they were deleted.
	Ownership string
	Block     *accessBlock `json:",omitempty"`
	ACL       acl          `json:",omitzero"`

	Notification *notification `json:",omitempty"`
}

// object is all versions of a key, the latest last. There is at least one.
type object struct {
	versions []*version
}

func (o *object) latest() *version { return o.versions[len(o.versions)-1] }

// find returns the place of a version by its id, -1 if there is none.
func (o *object) find(id string) int {
	for i := len(o.versions) - 1; i >= 0; i-- {
		if o.versions[i].ID == id {
			return i
		}
	}
	return -1
}

// nullVersion is the id of a version that was made without versioning.
const nullVersion = "null"

// version is one version of an object. It is never changed once others can see it, but replaced.
type version struct {
	Order    uint64 // of its making, among all versions
	ID       string // nullVersion if made without versioning
	Marker   bool   `json:",omitempty"` // a delete marker: nothing below is set but Modified
	Modified time.Time
	Size     int64             `json:",omitempty"`
	ETag     string            `json:",omitempty"` // without quotes
	Header   map[string]string `json:",omitempty"` // what comes back as it was sent: Content-Type and its like
	Meta     map[string]string `json:",omitempty"` // of the user, without the prefix, small letters
	Class    string            `json:",omitempty"` // of storage; "" is STANDARD
	Tags     []tag             `json:",omitempty"`
	ACL      acl               `json:",omitzero"`
	Sum      checksum          `json:",omitzero"`
	Parts    []partInfo        `json:",omitempty"` // of a multipart upload
	Body     []piece           `json:",omitempty"`
}

// partInfo is what is remembered of a part once its upload is complete.
type partInfo struct {
	Number int
	Size   int64
	Sum    string `json:",omitempty"`
}

func (v *version) class() string {
	if v.Class == "" {
		return "STANDARD"
	}
	return v.Class
}

type tag struct{ Key, Value string }

// bucketOf finds a bucket of the request's account.
func (c *call) bucketOf(name string) (*bucket, error) {
	c.s.mu.RLock()
	b := c.s.buckets[bucketID{c.r.Account, name}]
	c.s.mu.RUnlock()
	if b == nil {
		return nil, noSuchBucket(name)
	}
	return b, nil
}

// open finds the bucket that a request names, and checks that the client addresses the right one.
func (c *call) open() (*bucket, error) {
	b, err := c.bucketOf(c.bucket)
	if err != nil {
		return nil, err
	}
	if owner := c.h.Header["X-Amz-Expected-Bucket-Owner"]; owner != nil {
		if err := checkOwner(owner[0], b); err != nil {
			return nil, err
		}
	}
	return b, c.inRegion(b)
}

func checkOwner(owner string, b *bucket) error {
	if !isAccount(owner) {
		return refuse(400, "InvalidBucketOwnerAWSAccountID",
			"The value of the expected bucket owner parameter must be an AWS Account ID... ["+owner+"]")
	}
	if owner != b.account {
		return accessDenied()
	}
	return nil
}

// inRegion refuses a request that is signed for another region than the bucket's, in the way that lets clients sign
// it again for the right one.
func (c *call) inRegion(b *bucket) error {
	region := b.region()
	if c.r.AccessKey == "" || c.r.Region == region || c.old {
		return nil
	}
	f := refuse(400, "AuthorizationHeaderMalformed",
		"The authorization header is malformed; the region '"+c.r.Region+"' is wrong; expecting '"+region+"'", "Region", region)
	f.header = map[string][]string{"X-Amz-Bucket-Region": {region}}
	return f
}

// region is of its creation, and needs no lock to be read after that.
func (b *bucket) region() string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.settings.Region
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// canonicalID is the 64 digits by which S3 knows an account.
func canonicalID(account string) string {
	sum := sha256.Sum256([]byte("canonical user " + account))
	return hex.EncodeToString(sum[:])
}

// principal is an owner as notifications name it, of the form A3NL1KOZZKExample.
func principal(account string) string {
	sum := sha256.Sum256([]byte("principal " + account))
	return "A" + base32.StdEncoding.EncodeToString(sum[:8])[:13]
}

// userPrincipal is who made a request, as notifications name them.
func userPrincipal(accessKey string) string {
	if accessKey == "" {
		return "Anonymous"
	}
	sum := sha256.Sum256([]byte("user " + accessKey))
	return "AWS:AIDA" + base32.StdEncoding.EncodeToString(sum[:10])
}
