package s3

import (
	"errors"
	"net/http"
	"slices"

	"github.com/millrace/millrace/stack/store"
)

// removal is what became of a request to delete a key.
type removal struct {
	key, id string // as asked; the id may be empty
	marker  bool   // a delete marker was made or removed
	made    string // id of the marker that was made
}

func (s *Service) deleteObject(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	match := c.h.Header.Get("If-Match")
	if _, ok := c.h.Header["If-None-Match"]; ok {
		return unsupportedHeader("If-None-Match")
	}
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return noSuchBucket(b.name)
	}
	var batch store.Batch
	r, dropped, list, err := c.remove(&batch, b, c.key, c.q.get("versionId"), match)
	if err != nil {
		b.mu.Unlock()
		return err
	}
	if err := c.finish(b, &batch, dropped, list); err != nil {
		return err
	}
	header := c.w.Header()
	if r.marker {
		header["X-Amz-Delete-Marker"] = []string{"true"}
	}
	switch {
	case r.made != "":
		header["X-Amz-Version-Id"] = []string{r.made}
	case r.id != "":
		header["X-Amz-Version-Id"] = []string{r.id}
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// remove deletes a version, or if no id is given what a key shows. The caller holds the bucket's lock.
func (c *call) remove(batch *store.Batch, b *bucket, key, id, match string) (removal, []piece, []*notice, error) {
	r := removal{key: key, id: id}
	o, _ := b.objects.Get(key)
	versioning := b.settings.Versioning
	if id != "" && id != nullVersion && (!isVersionID(id) || versioning == "") {
		return r, nil, nil, invalidArgument("versionId", id, "Invalid version id specified")
	}
	if match != "" {
		if o == nil || o.latest().Marker {
			return r, nil, nil, noSuchKey(key)
		}
		if match != "*" && !sameETag(match, o.latest().ETag) {
			return r, nil, nil, preconditionFailed("If-Match")
		}
	}
	c.s.disturb(batch, b, key)
	told := happening{name: "ObjectRemoved:Delete", reason: "DeleteObject", key: key}

	if id == "" && versioning != "" { // hide it
		v := &version{Order: c.s.next(), ID: nullVersion, Marker: true, Modified: c.s.env.Clock.Now().UTC()}
		if versioning == "Enabled" {
			v.ID = newVersionID(v.Order)
		}
		dropped := c.s.put(batch, b, key, v)
		r.marker, r.made = true, v.ID
		told.name, told.version, told.versioned = "ObjectRemoved:DeleteMarkerCreated", v, v.ID != nullVersion
		return r, dropped, c.tell(b, told), nil
	}
	wanted := id
	if wanted == "" {
		wanted = nullVersion
	}
	i := -1
	if o != nil {
		i = o.find(wanted)
	}
	if i < 0 {
		if id != "" { // it is as it should be
			return r, nil, nil, nil
		}
		return r, nil, c.tell(b, told), nil // S3 tells of this too
	}
	v := o.versions[i]
	r.marker = v.Marker
	c.s.unsave(batch, b, key, v)
	if len(o.versions) == 1 {
		b.objects.Delete(key)
	} else {
		b.objects.Set(key, &object{versions: slices.Delete(slices.Clone(o.versions), i, i+1)})
	}
	if id != "" && versioning != "" {
		told.version, told.versioned = v, true
	}
	return r, v.Body, c.tell(b, told), nil
}

// maxDeleted is how many keys one request may name.
const maxDeleted = 1000

func (s *Service) deleteObjects(c *call) error {
	b, err := c.open()
	if err != nil {
		return err
	}
	if a, _, err := chosen(c.h.Header); err != nil {
		return err
	} else if a == nil && c.h.Header["Content-Md5"] == nil && c.h.Header["X-Amz-Trailer"] == nil {
		return invalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	doc, err := c.readXML("Delete")
	if err != nil {
		return err
	}
	type victim struct{ key, id, etag string }
	var victims []victim
	quiet := ""
	err = doc.each(map[string]func(*node) error{
		"Quiet": once(&quiet),
		"Object": func(n *node) error {
			var v victim
			err := n.each(map[string]func(*node) error{"Key": into(&v.key), "VersionId": once(&v.id), "ETag": once(&v.etag)})
			victims = append(victims, v)
			return err
		},
	})
	if err == nil && (len(victims) == 0 || len(victims) > maxDeleted || !slices.Contains([]string{"", "true", "false"}, quiet)) {
		err = malformedXML()
	}
	if err != nil {
		return err
	}

	var (
		batch   store.Batch
		dropped []piece
		list    []*notice
		d       = newDocument()
	)
	d.root("DeleteResult")
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return noSuchBucket(b.name)
	}
	for _, v := range victims {
		var (
			r     removal
			drop  []piece
			told  []*notice
			cause error
		)
		if v.key == "" {
			cause = refuse(http.StatusBadRequest, "UserKeyMustBeSpecified", "The bucket POST must contain the specified field name. If it is specified, check the order of the fields.")
		} else if cause = checkKey(v.key); cause == nil {
			r, drop, told, cause = c.remove(&batch, b, v.key, v.id, v.etag)
		}
		if cause != nil && v.id != "" && v.id != nullVersion && !isVersionID(v.id) {
			cause = noSuchVersion(v.key, v.id) // as S3 has it here, unlike DeleteObject
		}
		if cause != nil {
			var f *failure
			if !errors.As(cause, &f) {
				f = refuse(http.StatusInternalServerError, "InternalError", cause.Error())
			}
			d.open("Error")
			d.text("Key", v.key)
			d.given("VersionId", v.id)
			d.text("Code", f.code)
			d.text("Message", f.message)
			d.close("Error")
			continue
		}
		dropped, list = append(dropped, drop...), append(list, told...)
		if quiet == "true" {
			continue
		}
		d.open("Deleted")
		d.text("Key", v.key)
		d.given("VersionId", v.id)
		if r.marker {
			d.boolean("DeleteMarker", true)
			marker := r.made
			if marker == "" {
				marker = v.id
			}
			d.text("DeleteMarkerVersionId", marker)
		}
		d.close("Deleted")
	}
	d.close("DeleteResult")
	if err := c.finish(b, &batch, dropped, list); err != nil {
		return err
	}
	c.document(http.StatusOK, d)
	return nil
}
