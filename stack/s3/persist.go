package s3

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/stack/store"
)

// The keys of the store, each after prefix. An account has no slash, and neither has the name of a bucket.
//
//	bucket/<account>/<name>                        settings
//	object/<account>/<name>/<key>\x00<order>       version
//	upload/<account>/<name>/<id>                   upload
//	part/<account>/<name>/<id>/<number>            part
//	data/<piece>                                   bytes
//	notice/<order>                                 notice
const (
	bucketPrefix = prefix + "bucket/"
	objectPrefix = prefix + "object/"
	uploadPrefix = prefix + "upload/"
	partPrefix   = prefix + "part/"
)

func (id bucketID) key(prefix string) string { return prefix + id.account + "/" + id.name }

// orderKey is a key with 8 bytes after it, so that keys and versions keep their order.
func (b *bucket) versionKey(key string, v *version) string {
	return b.key(objectPrefix) + "/" + key + "\x00" + string(binary.BigEndian.AppendUint64(nil, v.Order))
}

func encode(v any) []byte {
	text, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("s3: " + err.Error()) // all that is stored are plain structs
	}
	return text
}

func (s *Service) save(batch *store.Batch, b *bucket, key string, v *version) {
	if s.env.Store.Durable() {
		batch.Set(b.versionKey(key, v), encode(v))
	}
}

// unsave removes a version from the store, with those of its pieces that are there.
func (s *Service) unsave(batch *store.Batch, b *bucket, key string, v *version) {
	if s.env.Store.Durable() {
		batch.Delete(b.versionKey(key, v))
		s.bodies.drop(batch, v.Body)
	}
}

func (s *Service) saveBucket(batch *store.Batch, b *bucket) {
	if s.env.Store.Durable() {
		batch.Set(b.key(bucketPrefix), encode(&b.settings))
	}
}

// pieces are all bytes that a bucket has. The caller holds the lock.
func (b *bucket) pieces() (all []piece) {
	b.objects.Scan(func(_ string, o *object) bool {
		for _, v := range o.versions {
			all = append(all, v.Body...)
		}
		return true
	})
	b.uploads.Scan(func(_ string, u *upload) bool {
		u.parts.Scan(func(_ int, p *part) bool {
			all = append(all, p.Body)
			return true
		})
		return true
	})
	return all
}

// load reads what the store remembers.
func (s *Service) load() error {
	if !s.env.Store.Durable() {
		return nil
	}
	last := uint64(0)
	named := map[uint64]bool{}
	name := func(pieces ...piece) {
		for _, p := range pieces {
			named[p.ID] = true
		}
	}
	err := s.each(bucketPrefix, 2, func(path []string, value []byte) error {
		b := &bucket{bucketID: bucketID{path[0], path[1]}}
		s.buckets[b.bucketID] = b
		return json.Unmarshal(value, &b.settings)
	})
	if err != nil {
		return err
	}
	bucketAt := func(path []string) (*bucket, error) {
		b := s.buckets[bucketID{path[0], path[1]}]
		if b == nil {
			return nil, fmt.Errorf("there is no bucket %s", path[1])
		}
		return b, nil
	}
	err = s.each(objectPrefix, 3, func(path []string, value []byte) error {
		b, err := bucketAt(path)
		if err != nil {
			return err
		}
		end := len(path[2]) - 9
		if end < 0 {
			return fmt.Errorf("the key is too short")
		}
		v := &version{}
		if err := json.Unmarshal(value, v); err != nil {
			return err
		}
		name(v.Body...)
		last = max(last, v.Order)
		key := path[2][:end]
		o, ok := b.objects.Get(key)
		if !ok {
			o = &object{}
			b.objects.Set(key, o)
		}
		o.versions = append(o.versions, v)
		return nil
	})
	if err != nil {
		return err
	}
	uploads := map[string]*upload{}
	err = s.each(uploadPrefix, 3, func(path []string, value []byte) error {
		b, err := bucketAt(path)
		if err != nil {
			return err
		}
		u := &upload{}
		if err := json.Unmarshal(value, u); err != nil {
			return err
		}
		last = max(last, u.Order)
		b.uploads.Set(u.index(), u)
		uploads[u.ID] = u
		return nil
	})
	if err != nil {
		return err
	}
	err = s.each(partPrefix, 4, func(path []string, value []byte) error {
		u := uploads[path[2]]
		number, err := strconv.Atoi(path[3])
		if u == nil || err != nil {
			return fmt.Errorf("there is no such upload")
		}
		p := &part{}
		if err := json.Unmarshal(value, p); err != nil {
			return err
		}
		name(p.Body)
		u.parts.Set(number, p)
		return nil
	})
	if err != nil {
		return err
	}
	told, err := s.notices.load()
	if err != nil {
		return err
	}
	s.counter.Store(max(last, told))
	return s.bodies.sweep(named)
}

// each calls f for what is below a part of the store, with its key after that cut at the first n-1 slashes.
func (s *Service) each(prefix string, n int, f func(path []string, value []byte) error) error {
	return s.env.Store.Load(prefix, func(key string, value []byte) error {
		path := strings.SplitN(key[len(prefix):], "/", n)
		if len(path) < n {
			return fmt.Errorf("reading %q: the key is too short", key)
		}
		if err := f(path, value); err != nil {
			return fmt.Errorf("reading %q: %w", key, err)
		}
		return nil
	})
}
