package s3_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// grants shows a list as "who permission, …".
func grants(list []types.Grant) string {
	var parts []string
	for _, g := range list {
		who := "owner"
		if g.Grantee.URI != nil {
			who = (*g.Grantee.URI)[strings.LastIndex(*g.Grantee.URI, "/")+1:]
		}
		parts = append(parts, who+" "+string(g.Permission))
	}
	return strings.Join(parts, ", ")
}

func TestAccessLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	closed, open := w.bucket("closed"), w.openBucket("open")
	for _, b := range []*string{closed, open} {
		w.put(b, "k", "data")
		got, err := w.GetObjectAcl(t.Context(), &awss3.GetObjectAclInput{Bucket: b, Key: aws.String("k")})
		if err != nil || grants(got.Grants) != "owner FULL_CONTROL" || *got.Owner.ID != *got.Grants[0].Grantee.ID {
			t.Errorf("%s: %+v %v", *b, got, err)
		}
		list, err := w.GetBucketAcl(t.Context(), &awss3.GetBucketAclInput{Bucket: b})
		if err != nil || grants(list.Grants) != "owner FULL_CONTROL" {
			t.Errorf("%s: %+v %v", *b, list, err)
		}
	}
	put := func(b *string, acl types.ObjectCannedACL) string {
		if _, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("k"), Body: strings.NewReader("data"), ACL: acl}); err != nil {
			return code(t, err)
		}
		return ""
	}
	set := func(b *string, acl types.BucketCannedACL) string {
		if _, err := w.PutBucketAcl(t.Context(), &awss3.PutBucketAclInput{Bucket: b, ACL: acl}); err != nil {
			return code(t, err)
		}
		return ""
	}
	for name, c := range map[string]struct{ got, want string }{
		"owner enforced":                 {put(closed, "public-read"), "AccessControlListNotSupported"},
		"owner enforced, private":        {put(closed, "private"), "AccessControlListNotSupported"},
		"owner enforced, full control":   {put(closed, "bucket-owner-full-control"), ""},
		"owner enforced, bucket":         {set(closed, "public-read"), "AccessControlListNotSupported"},
		"open":                           {put(open, "public-read"), ""},
		"open, bucket":                   {set(open, "public-read-write"), ""},
		"open, bucket, unknown":          {set(open, "fake"), "InvalidArgument"},
		"open, object, authenticated":    {put(open, "authenticated-read"), ""},
		"open, object, unknown":          {put(open, "fake"), "InvalidArgument"},
		"open, object, aws-exec-read":    {put(open, "aws-exec-read"), ""},
		"open, object, back to the list": {put(open, "public-read"), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	list, err := w.GetBucketAcl(t.Context(), &awss3.GetBucketAclInput{Bucket: open})
	if err != nil || grants(list.Grants) != "owner FULL_CONTROL, AllUsers READ, AllUsers WRITE" {
		t.Errorf("%+v %v", list, err)
	}

	if _, err := w.PutPublicAccessBlock(t.Context(), &awss3.PutPublicAccessBlockInput{Bucket: open, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{BlockPublicAcls: aws.Bool(true)}}); err != nil {
		t.Fatal(err)
	}
	block, err := w.GetPublicAccessBlock(t.Context(), &awss3.GetPublicAccessBlockInput{Bucket: open})
	if err != nil || !*block.PublicAccessBlockConfiguration.BlockPublicAcls || *block.PublicAccessBlockConfiguration.IgnorePublicAcls {
		t.Errorf("%+v %v", block, err)
	}
	if got := put(open, "public-read"); got != "AccessDenied" {
		t.Errorf("public lists are blocked: %q", got)
	}
	if _, err := w.DeletePublicAccessBlock(t.Context(), &awss3.DeletePublicAccessBlockInput{Bucket: open}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.GetPublicAccessBlock(t.Context(), &awss3.GetPublicAccessBlockInput{Bucket: open}); code(t, err) != "NoSuchPublicAccessBlockConfiguration" {
		t.Error(err)
	}
}

func TestAccessListsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(w.openBucket("bucket"), "k", "data")
	buckets, err := w.ListBuckets(t.Context(), &awss3.ListBucketsInput{})
	if err != nil {
		t.Fatal(err)
	}
	me := "<Owner><ID>" + *buckets.Owner.ID + "</ID></Owner>"
	grant := func(kind, grantee, permission string) string {
		return `<AccessControlPolicy>` + me + `<AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="` + kind + `">` +
			grantee + `</Grantee><Permission>` + permission + `</Permission></Grant></AccessControlList></AccessControlPolicy>`
	}
	for _, path := range []string{"/bucket?acl", "/bucket/k?acl"} {
		for _, c := range []struct {
			header     []string
			body, want string
		}{
			{nil, "", "<Code>MissingSecurityHeader</Code>"},
			{[]string{"X-Amz-Acl", "fake"}, "", "<Code>InvalidArgument</Code><Message></Message><ArgumentName>x-amz-acl</ArgumentName><ArgumentValue>fake</ArgumentValue>"},
			{[]string{"X-Amz-Acl", "private", "X-Amz-Grant-Read", `id="x"`}, "", "Specifying both Canned ACLs and Header Grants is not allowed"},
			{[]string{"X-Amz-Grant-Write", `fakekey="1234"`}, "", "Argument format not recognized"},
			{[]string{"X-Amz-Grant-Write", `uri="http://acs.amazonaws.com/groups/s3/FakeGroup"`}, "", "Invalid group uri"},
			{[]string{"X-Amz-Grant-Write", `id="wrong-id"`}, "", "Invalid id"},
			{[]string{"X-Amz-Acl", "private"}, "<x/>", "<Code>UnexpectedContent</Code>"},
			{nil, "<AccessControlPolicy/>", "<Code>MalformedACLError</Code>"},
			{nil, "<AccessControlPolicy>" + me + "</AccessControlPolicy>", "<Code>MalformedACLError</Code>"},
			{nil, grant("CanonicalUser", "<ID>wrong-id</ID>", "READ"), "CanonicalUser/ID"},
			{nil, grant("Group", "<URI>http://acs.amazonaws.com/groups/s3/FakeGroup</URI>", "READ"), "Group/URI"},
			{nil, grant("Group", "<URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI>", "FAKE"), "<Code>MalformedACLError</Code>"},
			{nil, grant("Robot", "", "READ"), "<Code>MalformedACLError</Code>"},
			{nil, "not XML", "<Code>MalformedACLError</Code>"},
		} {
			if resp, text := w.raw("PUT", path, c.body, c.header...); resp.StatusCode != 400 || !strings.Contains(text, c.want) {
				t.Errorf("%s %q %s: %s", path, c.header, c.body, text)
			}
		}
	}
}

func TestOwnershipControls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.bucket("bucket")
	ownership := func() string {
		out, err := w.GetBucketOwnershipControls(t.Context(), &awss3.GetBucketOwnershipControlsInput{Bucket: b})
		if err != nil {
			return code(t, err)
		}
		return string(out.OwnershipControls.Rules[0].ObjectOwnership)
	}
	if got := ownership(); got != "BucketOwnerEnforced" {
		t.Error(got)
	}
	put := func(body string) string {
		_, text := w.raw("PUT", "/bucket?ownershipControls", "<OwnershipControls>"+body+"</OwnershipControls>")
		return text
	}
	for _, bad := range []string{"", "<Rule/>", "<Rule><ObjectOwnership>X</ObjectOwnership></Rule>",
		"<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>"} {
		if text := put(bad); !strings.Contains(text, "MalformedXML") {
			t.Errorf("%s: %s", bad, text)
		}
	}
	if text := put("<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>"); text != "" || ownership() != "ObjectWriter" {
		t.Errorf("%s %s", text, ownership())
	}
	if _, err := w.PutBucketAcl(t.Context(), &awss3.PutBucketAclInput{Bucket: b, GrantRead: aws.String(`uri="http://acs.amazonaws.com/groups/s3/LogDelivery"`)}); err != nil {
		t.Error(err)
	}
	if text := put("<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"); !strings.Contains(text, "InvalidBucketAclWithObjectOwnership") {
		t.Error(text)
	}
	if _, err := w.DeleteBucketOwnershipControls(t.Context(), &awss3.DeleteBucketOwnershipControlsInput{Bucket: b}); err != nil || ownership() != "OwnershipControlsNotFoundError" {
		t.Errorf("%v %s", err, ownership())
	}
	if _, err := w.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("other"), ObjectOwnership: "BucketOwnerPreferred", ACL: "private"}); err != nil {
		t.Error(err)
	}
	for want, header := range map[string][]string{
		"Invalid x-amz-object-ownership header: X":   {"X-Amz-Object-Ownership", "X"},
		"InvalidBucketAclWithObjectOwnership":        {"X-Amz-Acl", "public-read"},
		"InvalidBucketAclWithBlockPublicAccessError": {"X-Amz-Acl", "public-read", "X-Amz-Object-Ownership", "ObjectWriter"},
	} {
		if _, text := w.raw("PUT", "/third", "", header...); !strings.Contains(text, want) {
			t.Errorf("%q: %s", header, text)
		}
	}
}
