package local

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkManifest reads the list of the store's files before Pebble does. Pebble takes whatever it cannot read
// there for the end of an interrupted write, goes on with the part before it, and removes the files that this
// part does not name. But the list is synced write by write: what can be read behind a broken place proves
// that it was no interrupted write, and so does a list with nothing in it.
func checkManifest(dir string) error {
	desc, err := pebble.Peek(dir, vfs.Default)
	if err != nil || !desc.Exists {
		return err
	}
	name := desc.ManifestFilename
	if !filepath.IsAbs(name) && filepath.Dir(name) == "." {
		name = filepath.Join(dir, name)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	broken, chunks := -1, 0
	for at := 0; at < len(data); {
		left := blockSize - at%blockSize
		if left < chunkHeader {
			at += left
			continue
		}
		n, ok := chunk(data[at:min(at+left, len(data))])
		if ok {
			at += n
			chunks++
			continue
		}
		broken = at
		break
	}
	if chunks == 0 {
		return fmt.Errorf("%w: nothing in %s can be read", errDamaged, filepath.Base(name))
	}
	if broken < 0 {
		return nil
	}
	for at := broken + 1; at+chunkHeader <= len(data); at++ {
		left := blockSize - at%blockSize
		if _, ok := chunk(data[at:min(at+left, len(data))]); ok {
			return fmt.Errorf("%w: byte %d of %s, of %d", errDamaged, broken, filepath.Base(name), len(data))
		}
	}
	return nil
}

// The list is a log of chunks, each with a masked checksum, its length and its type, in blocks that no chunk
// crosses (github.com/cockroachdb/pebble/v2/record).
const (
	blockSize   = 32 << 10
	chunkHeader = 7
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk reports whether b, which ends with its block, begins with a chunk, and how long that is.
func chunk(b []byte) (int, bool) {
	if len(b) < chunkHeader || bytes.Equal(b[:chunkHeader], make([]byte, chunkHeader)) {
		return 0, false
	}
	n := chunkHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if kind := b[6]; n > len(b) || kind < 1 || kind > 4 {
		return 0, false
	}
	sum := crc32.Checksum(b[6:n], castagnoli)
	return n, binary.LittleEndian.Uint32(b) == (sum>>15|sum<<17)+0xa282ead8
}
