package kinesis

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func FuzzIterator(f *testing.F) {
	s, err := newSealer(make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.iterator(iterator{made: 1, stream: streamKey{"000000000000", "us-east-1", "s"}, id: "x", shard: 7, position: 9}))
	f.Add("")
	f.Add("AAAAAAAAAAE=")
	f.Fuzz(func(t *testing.T, token string) {
		if it, ok := s.openIterator(token); ok && it != (iterator{made: 1, stream: streamKey{"000000000000", "us-east-1", "s"}, id: "x", shard: 7, position: 9}) {
			t.Errorf("%q, which nobody made, is read as %+v", token, it)
		}
	})
}

// What is inside is read with care too: it may have been written by another version.
func FuzzIteratorContent(f *testing.F) {
	s, err := newSealer(make([]byte, keySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(int64(1), "000000000000", "us-east-1", "s", "id", uint32(1), uint64(2), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, made int64, account, region, name, id string, shard uint32, position uint64, junk []byte) {
		want := iterator{made, streamKey{account, region, name}, id, shard, position}
		token := s.iterator(want)
		if got, ok := s.openIterator(token); !ok || got != want {
			t.Errorf("%+v is read back as %+v, %v", want, got, ok)
		}
		if again := s.iterator(want); again == token {
			t.Errorf("the same iterator looks the same twice: %s", token)
		}
		s.openIterator(s.seal(iteratorToken, made, junk))
		if _, _, ok := s.open(shardsToken, token); ok {
			t.Error("an iterator is taken for a page token")
		}
		raw, err := base64.StdEncoding.DecodeString(token)
		if err != nil || !bytes.HasPrefix(raw, []byte(tokenVersion)) {
			t.Errorf("%s is not base64 of a token, %v", token, err)
		}
	})
}

func FuzzStoredRecord(f *testing.F) {
	f.Add(int64(1), "key", []byte("data"), true, []byte{1})
	f.Fuzz(func(t *testing.T, arrival int64, key string, data []byte, kms bool, junk []byte) {
		want := record{arrival: arrival, key: key, data: data, kms: kms}
		var got record
		if err := got.decode(want.encode()); err != nil || got.arrival != arrival || got.key != key || !bytes.Equal(got.data, data) || got.kms != kms {
			t.Errorf("%+v is read back as %+v, %v", want, got, err)
		}
		var other record
		_ = other.decode(junk) // no panic
	})
}
