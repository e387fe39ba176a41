package s3

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/millrace/millrace/stack/store"
)

// Most tags of an object and of a bucket.
const (
	objectTags = 10
	bucketTags = 50
)

// parseTags reads the children Tag of an element.
func parseTags(n *node, most int) ([]tag, error) {
	var tags []tag
	err := n.each(map[string]func(*node) error{"Tag": func(n *node) error {
		var t tag
		err := n.each(map[string]func(*node) error{"Key": into(&t.Key), "Value": into(&t.Value)})
		if err == nil && len(n.children) != 2 {
			err = malformedXML()
		}
		tags = append(tags, t)
		return err
	}})
	if err != nil {
		return nil, err
	}
	if len(tags) > most {
		what := "Object tags cannot be greater than 10"
		if most == bucketTags {
			what = "Bucket tag count cannot be greater than 50"
		}
		return nil, refuse(http.StatusBadRequest, "BadRequest", what)
	}
	for i, t := range tags {
		if err := t.check(most == bucketTags); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(tags[:i], func(o tag) bool { return o.Key == t.Key }) {
			return nil, refuse(http.StatusBadRequest, "InvalidTag", "Cannot provide multiple Tags with the same key", "TagKey", t.Key)
		}
	}
	return tags, nil
}

func (t tag) check(ofBucket bool) error {
	switch {
	case t.Key == "" || len(utf16.Encode([]rune(t.Key))) > 128 || !isTagText(t.Key):
		return refuse(http.StatusBadRequest, "InvalidTag", "The TagKey you have provided is invalid", "TagKey", t.Key)
	case len(utf16.Encode([]rune(t.Value))) > 256 || !isTagText(t.Value):
		return refuse(http.StatusBadRequest, "InvalidTag", "The TagValue you have provided is invalid", "TagKey", t.Key, "TagValue", t.Value)
	case strings.HasPrefix(t.Key, "aws:") && ofBucket:
		return refuse(http.StatusBadRequest, "InvalidTag", "System tags cannot be added/updated by requester", "TagKey", t.Key)
	case strings.HasPrefix(t.Key, "aws:"):
		return refuse(http.StatusBadRequest, "InvalidTag", "Your TagKey cannot be prefixed with aws:", "TagKey", t.Key)
	}
	return nil
}

// isTagText reports whether a text has only the characters that tags may have.
func isTagText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.Is(unicode.Z, r) && !strings.ContainsRune("_.:/=+-@", r)
	})
}

// tagsHeader reads x-amz-tagging, whose value is in the form of a query.
func tagsHeader(header http.Header) ([]tag, error) {
	values := header["X-Amz-Tagging"]
	if values == nil || values[0] == "" {
		return nil, nil
	}
	bad := invalidArgument("x-amz-tagging", values[0],
		"The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	var tags []tag
	for part := range strings.SplitSeq(values[0], "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err != nil || err2 != nil || !isTagText(key) || !isTagText(value) || slices.ContainsFunc(tags, func(o tag) bool { return o.Key == key }) {
			return nil, bad
		}
		t := tag{key, value}
		if err := t.check(false); err != nil {
			return nil, err
		}
		tags = append(tags, t)
	}
	if len(tags) > objectTags {
		return nil, refuse(http.StatusBadRequest, "BadRequest", "Object tags cannot be greater than 10")
	}
	return tags, nil
}

// readTags reads the document of both operations that set tags.
func (c *call) readTags(most int) ([]tag, error) {
	doc, err := c.readXML("Tagging")
	if err != nil {
		return nil, err
	}
	var tags []tag
	seen := false
	err = doc.each(map[string]func(*node) error{"TagSet": func(n *node) error {
		if seen {
			return malformedXML()
		}
		seen = true
		var err error
		tags, err = parseTags(n, most)
		return err
	}})
	return tags, err
}

func (c *call) showTags(tags []tag) {
	d := newDocument()
	d.root("Tagging")
	d.open("TagSet")
	for _, t := range tags {
		d.open("Tag")
		d.text("Key", t.Key)
		d.text("Value", t.Value)
		d.close("Tag")
	}
	d.close("TagSet")
	d.close("Tagging")
	c.document(http.StatusOK, d)
}

func (s *Service) getBucketTagging(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	b.mu.RLock()
	tags := b.settings.Tags
	b.mu.RUnlock()
	if len(tags) == 0 {
		return refuse(http.StatusNotFound, "NoSuchTagSet", "The TagSet does not exist", "BucketName", c.bucket)
	}
	c.showTags(tags)
	return nil
}

func (s *Service) putBucketTagging(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	tags, err := c.readTags(bucketTags)
	if err != nil {
		return err
	}
	return c.setBucketTags(b, tags)
}

func (s *Service) deleteBucketTagging(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	return c.setBucketTags(b, nil)
}

func (c *call) setBucketTags(b *bucket, tags []tag) error {
	err := c.configure(b, func(set *settings) error {
		set.Tags = tags
		return nil
	})
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Service) getObjectTagging(c *call) error {
	c.markers = true
	_, v, err := c.find(false)
	var f *failure
	if errors.As(err, &f) && f.code == "NoSuchKey" {
		f.members = []string{"Key", c.bucket + "/" + c.key} // as S3 has it here alone
	}
	if err != nil {
		return err
	}
	c.stateID(v)
	c.showTags(v.Tags)
	return nil
}

func (s *Service) putObjectTagging(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	tags, err := c.readTags(objectTags)
	if err != nil {
		return err
	}
	err = c.alter(b, "ObjectTagging:Put", func(v *version) bool {
		v.Tags = tags
		return true
	})
	return err
}

func (s *Service) deleteObjectTagging(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	err = c.alter(b, "ObjectTagging:Delete", func(v *version) bool {
		v.Tags = nil
		return true
	})
	if err == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// alter replaces the version that a request names by one that differs in what change does to it. Nothing happens if
// change returns false.
func (c *call) alter(b *bucket, name string, change func(*version) bool) error {
	c.markers = true
	b.mu.Lock()
	v, err := c.pick(b, c.key)
	if b.gone {
		err = noSuchBucket(b.name)
	}
	if err != nil {
		b.mu.Unlock()
		return err
	}
	c.stateID(v)
	n := *v
	var batch store.Batch
	if !change(&n) {
		return c.finish(b, &batch, nil, nil)
	}
	o, _ := b.objects.Get(c.key)
	versions := slices.Clone(o.versions)
	versions[slices.Index(versions, v)] = &n
	b.objects.Set(c.key, &object{versions: versions})
	c.s.save(&batch, b, c.key, &n)
	list := c.tell(b, happening{name: name, key: c.key, version: &n, versioned: n.ID != nullVersion})
	return c.finish(b, &batch, nil, list)
}
