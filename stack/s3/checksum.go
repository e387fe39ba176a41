package s3

import (
	"crypto/md5"  //nolint:gosec // S3's ETags are such sums
	"crypto/sha1" //nolint:gosec // one of S3's checksums
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/minio/crc64nvme"
	"github.com/zeebo/xxh3"
)

// checksum is what S3 keeps of a client's choice of checksum
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
type checksum struct {
	Algorithm string `json:",omitempty"` // "" if there is none
	Type      string `json:",omitempty"` // fullObject or composite
	Value     string `json:",omitempty"` // base64, followed by "-" and the number of parts if composite
}

const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// defaultAlgorithm is that of objects whose clients choose none.
const defaultAlgorithm = "CRC64NVME"

// algorithm is one of the checksums.
type algorithm struct {
	name   string
	header string // canonical
	size   int    // bytes
	make   func() hash.Hash
	// polynomial is set if checksums of parts can be joined to that of the whole: reflected, of size bytes.
	polynomial uint64
}

var algorithms = []algorithm{
	{"CRC64NVME", "X-Amz-Checksum-Crc64nvme", 8, func() hash.Hash { return crc64nvme.New() }, 0x9a6c9329ac4bc9b5},
	{"CRC32", "X-Amz-Checksum-Crc32", 4, func() hash.Hash { return crc32.NewIEEE() }, crc32.IEEE},
	{"CRC32C", "X-Amz-Checksum-Crc32c", 4, func() hash.Hash { return crc32.New(castagnoli) }, crc32.Castagnoli},
	{"SHA1", "X-Amz-Checksum-Sha1", sha1.Size, sha1.New, 0},
	{"SHA256", "X-Amz-Checksum-Sha256", sha256.Size, sha256.New, 0},
	{"SHA512", "X-Amz-Checksum-Sha512", sha512.Size, sha512.New, 0},
	{"MD5", "X-Amz-Checksum-Md5", md5.Size, md5.New, 0},
	{"XXHASH64", "X-Amz-Checksum-Xxhash64", 8, func() hash.Hash { return xxhash.New() }, 0},
	{"XXHASH3", "X-Amz-Checksum-Xxhash3", 8, func() hash.Hash { return xxh3.New() }, 0},
	{"XXHASH128", "X-Amz-Checksum-Xxhash128", 16, func() hash.Hash { return &xxh128{xxh3.New()} }, 0},
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// xxh128 is the sum of 128 bits.
type xxh128 struct{ *xxh3.Hasher }

func (x *xxh128) Size() int { return 16 }

func (x *xxh128) Sum(b []byte) []byte {
	sum := x.Sum128().Bytes()
	return append(b, sum[:]...)
}

// algorithmOf finds an algorithm by its name.
func algorithmOf(name string) *algorithm {
	for i := range algorithms {
		if algorithms[i].name == name {
			return &algorithms[i]
		}
	}
	return nil
}

// chosen returns the algorithm and the value that headers state, nil if none.
func chosen(header http.Header) (*algorithm, string, error) {
	var a *algorithm
	value := ""
	for i := range algorithms {
		v := header[algorithms[i].header]
		if v == nil {
			continue
		}
		if a != nil {
			return nil, "", invalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		a, value = &algorithms[i], v[0]
	}
	for name := range header {
		if strings.HasPrefix(name, "X-Amz-Checksum-") && a == nil && name != "X-Amz-Checksum-Algorithm" &&
			name != "X-Amz-Checksum-Type" && name != "X-Amz-Checksum-Mode" {
			return nil, "", unsupportedAlgorithm()
		}
	}
	return a, value, nil
}

func unsupportedAlgorithm() error {
	names := make([]string, len(algorithms))
	for i := range algorithms {
		names[i] = algorithms[i].name
	}
	slices.Sort(names)
	return invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [%s]",
		strings.Join(names, ", "))
}

// check decodes a value that a client has sent in the algorithm's header.
func (a *algorithm) check(value string) error {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(b) != a.size {
		return invalidRequest("Value for %s header is invalid.", strings.ToLower(a.header))
	}
	return nil
}

func (a *algorithm) encode(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// canBe reports whether a checksum of a multipart upload can be of a type.
func (a *algorithm) canBe(kind string) bool {
	if kind == fullObject {
		return a.polynomial != 0
	}
	return a.name != defaultAlgorithm
}

// defaultType is the type of a multipart upload's checksum if the client chooses none.
func (a *algorithm) defaultType() string {
	if a.name == defaultAlgorithm {
		return fullObject
	}
	return composite
}

// whole makes the checksum of an object of those of its parts.
func (a *algorithm) whole(kind string, parts []partInfo) (checksum, error) {
	sum := checksum{Algorithm: a.name, Type: kind}
	if kind == composite {
		h := a.make()
		for _, p := range parts {
			b, err := base64.StdEncoding.DecodeString(p.Sum)
			if err != nil {
				return checksum{}, fmt.Errorf("the checksum of a part: %w", err)
			}
			h.Write(b)
		}
		sum.Value = fmt.Sprintf("%s-%d", a.encode(h), len(parts))
		return sum, nil
	}
	var crc uint64
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.Sum)
		if err != nil || len(b) != a.size {
			return checksum{}, fmt.Errorf("the checksum of a part, %q, has %d bytes", p.Sum, len(b))
		}
		crc = joinCRC(a.polynomial, a.size*8, crc, getCRC(b), uint64(p.Size)) //nolint:gosec // sizes are not negative
	}
	b := binary.BigEndian.AppendUint64(nil, crc)
	sum.Value = base64.StdEncoding.EncodeToString(b[8-a.size:])
	return sum, nil
}

func getCRC(b []byte) uint64 {
	var full [8]byte
	copy(full[8-len(b):], b)
	return binary.BigEndian.Uint64(full[:])
}

// joinCRC returns the checksum of two texts one after the other, of which the second has n bytes. Appending n zero
// bytes to a text multiplies its checksum by x^8n modulo the polynomial; bits are reflected, the highest power in
// the lowest bit.
func joinCRC(polynomial uint64, width int, first, second, n uint64) uint64 {
	multiply := func(a, b uint64) uint64 {
		var product uint64
		for bit := uint64(1) << (width - 1); bit != 0; bit >>= 1 { // from the lowest power of a
			if a&bit != 0 {
				product ^= b
			}
			carry := b & 1
			if b >>= 1; carry != 0 {
				b ^= polynomial
			}
		}
		return product
	}
	factor := uint64(1) << (width - 1) // x^0
	square := uint64(1) << (width - 9) // x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			factor = multiply(factor, square)
		}
		square = multiply(square, square)
	}
	return multiply(factor, first) ^ second
}
