package s3

import (
	"errors"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/stack/page"
	"github.com/millrace/millrace/stack/store"
)

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// regions are those that S3's API knows by name.
var regions = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1", "cn-north-1", "cn-northwest-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2",
	"eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1",
	"us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2",
}

// checkBucketName follows
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
func checkBucketName(name string) error {
	_, err := netip.ParseAddr(name)
	ok := bucketName.MatchString(name) && err != nil && !strings.Contains(name, "..")
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		ok = ok && !strings.HasPrefix(name, p)
	}
	for _, p := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		ok = ok && !strings.HasSuffix(name, p)
	}
	if !ok {
		return refuse(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.", "BucketName", name)
	}
	return nil
}

func (s *Service) createBucket(c *call) error {
	if err := checkBucketName(c.bucket); err != nil {
		return err
	}
	set := settings{Region: c.r.Region, Created: s.env.Clock.Now().UTC(), Ownership: enforced, Block: newAccessBlock()}
	text, err := c.read()
	if err != nil {
		return err
	}
	constraint, tagged := "", false
	if len(text) > 0 {
		doc, err := parseXML(text)
		if err != nil || doc.name != "CreateBucketConfiguration" {
			return malformedXML()
		}
		err = doc.each(map[string]func(*node) error{
			"LocationConstraint": once(&constraint),
			"Tags": func(n *node) error {
				var err error
				set.Tags, err = parseTags(n, bucketTags)
				tagged = len(set.Tags) > 0
				var f *failure
				if errors.As(err, &f) && strings.HasPrefix(f.message, "System tags") {
					return refuse(http.StatusBadRequest, "InvalidTag", "User-defined tag keys can't start with \"aws:\". "+
						"This prefix is reserved for system tags. Remove \"aws:\" from your tag keys and try again.")
				}
				return err
			},
		})
		if err != nil {
			return err
		}
	}
	if set.Region, err = place(c.r.Region, constraint); err != nil {
		return err
	}
	set.Constraint = constraint
	if err := c.initialAccess(&set); err != nil {
		return err
	}

	id := bucketID{c.r.Account, c.bucket}
	b := &bucket{bucketID: id, settings: set}
	var batch store.Batch
	s.mu.Lock()
	if old := s.buckets[id]; old != nil {
		there := s.env.Store.Barrier()
		s.mu.Unlock()
		if err := there.Wait(); err != nil {
			return err
		}
		if c.r.Region != "us-east-1" || old.region() != "us-east-1" || tagged {
			return refuse(http.StatusConflict, "BucketAlreadyOwnedByYou",
				"Your previous request to create the named bucket succeeded and you already own it.", "BucketName", c.bucket)
		}
		c.created("us-east-1") // an old custom of this region alone
		return nil
	}
	s.buckets[id] = b
	s.saveBucket(&batch, b)
	commit := s.env.Store.Commit(&batch)
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		return err
	}
	c.created(set.Region)
	return nil
}

func (c *call) created(region string) {
	location := "/" + c.bucket
	if region != "us-east-1" {
		location = strings.Replace(c.r.Endpoint, "://", "://"+c.bucket+".", 1) + "/"
	}
	c.w.Header()["Location"] = []string{location}
	c.w.Header()["X-Amz-Bucket-Arn"] = []string{"arn:aws:s3:::" + c.bucket}
}

// place is the region of a new bucket.
func place(endpoint, constraint string) (string, error) {
	if endpoint == "aws-global" { // which clients sign for the region that it is in
		f := refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed",
			"The authorization header is malformed; the region 'aws-global' is wrong; expecting 'us-east-1'", "Region", "us-east-1")
		return "", f
	}
	if endpoint == "us-east-1" {
		switch {
		case constraint == "":
			return "us-east-1", nil
		case constraint == "EU":
			return "eu-west-1", nil
		case constraint == "us-east-1" || !slices.Contains(regions, constraint):
			return "", refuse(http.StatusBadRequest, "InvalidLocationConstraint",
				"The specified location-constraint is not valid", "LocationConstraint", constraint)
		}
		return constraint, nil
	}
	if constraint == endpoint || constraint == "EU" && endpoint == "eu-west-1" {
		return endpoint, nil
	}
	if constraint == "" {
		constraint = "unspecified"
	}
	return "", refuse(http.StatusBadRequest, "IllegalLocationConstraintException", "The "+constraint+
		" location constraint is incompatible for the region specific endpoint this request was sent to.")
}

func (s *Service) headBucket(c *call) error {
	b, err := c.bucketOf(c.bucket)
	if err != nil {
		return err
	}
	region := b.region()
	c.w.Header()["X-Amz-Bucket-Region"] = []string{region} // also if the request is refused for it
	if _, err := c.open(); err != nil {
		return err
	}
	c.w.Header()["Content-Type"] = []string{"application/xml"}
	c.w.Header()["X-Amz-Access-Point-Alias"] = []string{"false"}
	c.w.Header()["X-Amz-Bucket-Arn"] = []string{"arn:aws:s3:::" + c.bucket}
	return nil
}

func (s *Service) deleteBucket(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	s.mu.Lock()
	b.mu.Lock()
	if b.gone {
		err = noSuchBucket(c.bucket)
	} else if b.objects.Len() > 0 {
		message := "The bucket you tried to delete is not empty"
		if b.settings.Versioning != "" {
			message += ". You must delete all versions in the bucket."
		}
		err = refuse(http.StatusConflict, "BucketNotEmpty", message, "BucketName", c.bucket)
	}
	if err != nil {
		b.mu.Unlock()
		s.mu.Unlock()
		return err
	}
	b.gone = true
	delete(s.buckets, b.bucketID)
	dropped := b.pieces() // of uploads that were not completed
	var batch store.Batch
	batch.Delete(b.key(bucketPrefix))
	if b.uploads.Len() > 0 {
		batch.DeletePrefix(b.key(uploadPrefix) + "/")
		batch.DeletePrefix(b.key(partPrefix) + "/")
		s.bodies.drop(&batch, dropped)
	}
	commit := s.env.Store.Commit(&batch)
	b.mu.Unlock()
	s.mu.Unlock()
	if err := commit.Wait(); err != nil {
		return err
	}
	s.bodies.removeFiles(dropped)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) listBuckets(c *call) error {
	prefix, region, token := c.q.get("prefix"), c.q.get("bucket-region"), c.q.get("continuation-token")
	limit := 10_000
	if text := c.q.get("max-buckets"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > limit {
			return invalidArgument("max-buckets", text, "Argument max-buckets must be an integer between 1 and 10000")
		}
		limit = n
	}
	if region != "" && !slices.Contains(regions, region) {
		return refuse(http.StatusBadRequest, "InvalidArgument", "Argument value "+region+" is not a valid AWS Region",
			"ArgumentName", "bucket-region")
	}
	var list []*bucket
	s.mu.RLock()
	for id, b := range s.buckets {
		if id.account == c.r.Account && strings.HasPrefix(id.name, prefix) && (region == "" || b.region() == region) {
			list = append(list, b)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b *bucket) int { return strings.Compare(a.name, b.name) })
	shown, next, err := page.Of(list, func(b *bucket) string { return b.name }, token, limit)
	if err != nil {
		return refuse(http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect",
			"ArgumentName", "continuation-token")
	}
	d := newDocument()
	d.root("ListAllMyBucketsResult")
	d.open("Owner")
	d.text("ID", canonicalID(c.r.Account))
	d.close("Owner")
	d.open("Buckets")
	for _, b := range shown {
		b.mu.RLock()
		set := b.settings
		b.mu.RUnlock()
		d.open("Bucket")
		d.text("Name", b.name)
		d.time("CreationDate", set.Created)
		if c.q.has("max-buckets") || prefix != "" || region != "" {
			d.text("BucketRegion", set.Region)
		}
		d.text("BucketArn", "arn:aws:s3:::"+b.name)
		d.close("Bucket")
	}
	d.close("Buckets")
	d.given("Prefix", prefix)
	d.given("ContinuationToken", next)
	d.close("ListAllMyBucketsResult")
	c.document(http.StatusOK, d)
	return nil
}

func (s *Service) getBucketLocation(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	d := newDocument()
	b.mu.RLock()
	constraint := b.settings.Constraint
	b.mu.RUnlock()
	if constraint == "" {
		d.WriteString(`<LocationConstraint xmlns="` + namespace + `"/>`)
	} else {
		d.root("LocationConstraint")
		d.escape(constraint)
		d.close("LocationConstraint")
	}
	c.document(http.StatusOK, d)
	return nil
}

// configure changes a bucket's settings.
func (c *call) configure(b *bucket, change func(*settings) error) error {
	b.mu.Lock()
	set := b.settings
	err := change(&set)
	if b.gone {
		err = noSuchBucket(b.name)
	}
	if err != nil {
		b.mu.Unlock()
		return err
	}
	b.settings = set
	var batch store.Batch
	c.s.saveBucket(&batch, b)
	commit := c.s.env.Store.Commit(&batch)
	b.mu.Unlock()
	return commit.Wait()
}

func (s *Service) getBucketVersioning(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	b.mu.RLock()
	status := b.settings.Versioning
	b.mu.RUnlock()
	d := newDocument()
	d.root("VersioningConfiguration")
	d.given("Status", status)
	d.close("VersioningConfiguration")
	c.document(http.StatusOK, d)
	return nil
}

func (s *Service) putBucketVersioning(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	doc, err := c.readXML("VersioningConfiguration")
	if err != nil {
		return err
	}
	var status, mfa string
	if err := doc.each(map[string]func(*node) error{"Status": once(&status), "MfaDelete": once(&mfa), "MFADelete": once(&mfa)}); err != nil {
		return err
	}
	switch {
	case status == "":
		return refuse(http.StatusBadRequest, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	case status != "Enabled" && status != "Suspended" || mfa != "" && mfa != "Enabled" && mfa != "Disabled":
		return malformedXML()
	case mfa == "Enabled":
		return refuse(http.StatusNotImplemented, "NotImplemented", "millrace's local stack does not have MFA delete", "Resource", c.h.URL.Path)
	}
	return c.configure(b, func(set *settings) error {
		set.Versioning = status
		return nil
	})
}
