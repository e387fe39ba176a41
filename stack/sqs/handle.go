package sqs

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// A receipt handle names one receipt of one message: the queue, the message's place in it, and which of its receipts.
type receipt struct {
	queue  queueID
	order  uint64
	number uint32
}

// queueID tells queues apart, also those that had the same name one after the other.
type queueID [8]byte

const (
	receiptLength = 3 + 8 + 8 + 4 + 4
	// receiptTag makes handles begin as AWS's do.
	receiptTag = "\x01\x01\x01"
)

func (r receipt) String() string {
	var b [receiptLength]byte
	copy(b[:], receiptTag)
	copy(b[3:], r.queue[:])
	binary.BigEndian.PutUint64(b[11:], r.order)
	binary.BigEndian.PutUint32(b[19:], r.number)
	binary.BigEndian.PutUint32(b[23:], crc32.ChecksumIEEE(b[:23]))
	var text [receiptLength / 3 * 4]byte
	base64.StdEncoding.Encode(text[:], b[:])
	return string(text[:])
}

// parseReceipt reads a handle, and reports whether it is one.
func parseReceipt(s string) (r receipt, ok bool) {
	var b [receiptLength]byte
	if len(s) != receiptLength/3*4 {
		return r, false
	}
	if n, err := base64.StdEncoding.Strict().Decode(b[:], []byte(s)); err != nil || n != receiptLength {
		return r, false
	}
	if string(b[:3]) != receiptTag || binary.BigEndian.Uint32(b[23:]) != crc32.ChecksumIEEE(b[:23]) {
		return r, false
	}
	copy(r.queue[:], b[3:11])
	r.order = binary.BigEndian.Uint64(b[11:])
	r.number = binary.BigEndian.Uint32(b[19:])
	return r, true
}
