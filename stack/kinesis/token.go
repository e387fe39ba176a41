package kinesis

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/millrace/millrace/stack/wire"
)

// sealer makes and opens the tokens that clients hold: shard iterators and page tokens. They are encrypted, so that
// nobody takes them for an interface, and a changed one is noticed.
type sealer struct{ aead cipher.AEAD }

const keySize = 32

func newKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) //nolint:errcheck // it never fails
	return key
}

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("the key of shard iterators: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("the key of shard iterators: %w", err)
	}
	return &sealer{aead}, nil
}

// The kinds of tokens. A token of one kind is not accepted as another.
const (
	iteratorToken byte = iota + 1
	shardsToken
	streamsToken
	consumersToken
)

// tokenVersion begins every token, as it does AWS's.
const tokenVersion = "\x00\x00\x00\x00\x00\x00\x00\x01"

// lifetime is how long iterators and page tokens are good for.
const lifetime = 5 * time.Minute

// seal makes a token of what is to be remembered.
func (s *sealer) seal(kind byte, made int64, content []byte) string {
	plain := make([]byte, 0, 9+len(content))
	plain = append(plain, kind)
	plain = binary.BigEndian.AppendUint64(plain, uint64(made)) //nolint:gosec // bits
	plain = append(plain, content...)
	sealed := make([]byte, len(tokenVersion), len(tokenVersion)+len(plain)+s.aead.Overhead())
	copy(sealed, tokenVersion)
	return base64.StdEncoding.EncodeToString(s.aead.Seal(sealed, nil, plain, nil))
}

// open returns what seal was given. It is false for what seal has not made.
func (s *sealer) open(kind byte, token string) (made int64, content []byte, ok bool) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || len(sealed) < len(tokenVersion) || string(sealed[:len(tokenVersion)]) != tokenVersion {
		return 0, nil, false
	}
	plain, err := s.aead.Open(nil, nil, sealed[len(tokenVersion):], nil)
	if err != nil || len(plain) < 9 || plain[0] != kind {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(plain[1:])), plain[9:], true //nolint:gosec // bits
}

// iterator is a position in a shard.
type iterator struct {
	made     int64 // milliseconds
	stream   streamKey
	id       string // of the stream, to tell it from a later one of its name
	shard    uint32
	position uint64 // index of the next record
}

func (s *sealer) iterator(it iterator) string {
	b := make([]byte, 0, 256)
	b = binary.BigEndian.AppendUint32(b, it.shard)
	b = binary.BigEndian.AppendUint64(b, it.position)
	for _, text := range [...]string{it.id, it.stream.account, it.stream.region, it.stream.name} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return s.seal(iteratorToken, it.made, b)
}

func (s *sealer) openIterator(token string) (iterator, bool) {
	made, b, ok := s.open(iteratorToken, token)
	if !ok || len(b) < 12 {
		return iterator{}, false
	}
	it := iterator{made: made, shard: binary.BigEndian.Uint32(b), position: binary.BigEndian.Uint64(b[4:])}
	b = b[12:]
	for _, text := range [...]*string{&it.id, &it.stream.account, &it.stream.region, &it.stream.name} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return iterator{}, false
		}
		b = b[size:]
		*text, b = string(b[:n]), b[n:]
	}
	return it, len(b) == 0
}

// checkAge refuses an iterator that was made too long ago.
func (it iterator) checkAge(now int64) error {
	if now-it.made <= lifetime.Milliseconds() {
		return nil
	}
	return wire.Errorf("ExpiredIteratorException", "Iterator expired. The iterator was created at time %s while right now it is %s "+
		"which is further in the future than the tolerated delay of %d milliseconds.", javaTime(it.made), javaTime(now), lifetime.Milliseconds())
}

// javaTime words a time as AWS's messages do.
func javaTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("Mon Jan 02 15:04:05 UTC 2006")
}
