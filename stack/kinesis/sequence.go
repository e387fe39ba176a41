package kinesis

import "math/bits"

// sequence is what a sequence number says. AWS's form has not been published; this is version 2 as it has been
// read from outside (https://github.com/mhart/kinesalite): a number of 186 bits, 56 decimal digits, made of
//
//	2 | 36 bits second in which the shard was made | 4 bits last of the shard's index | 64 bits index
//	  | 8 bits zero | 36 bits second of arrival | 32 bits index of the shard | 4 bits version
//
// from the highest to the lowest. In a shard the numbers rise with index; a child's are above its parents', because
// it is made in a later second.
type sequence struct {
	created int64  // second in which the shard was made
	shard   uint32 // index of the shard
	index   uint64 // of the record in its shard; 0 is the beginning
	second  int64  // of arrival
}

// endIndex is the index in the number that ends a closed shard.
const endIndex = 1<<63 - 1

// grain is the greatest power of ten in a word: decimal numbers are written and read so many digits at a time.
const (
	grain       = 10_000_000_000_000_000_000
	grainDigits = 19
)

// append appends the decimal digits.
func (s sequence) append(dst []byte) []byte {
	second := uint64(s.second) & (1<<36 - 1) //nolint:gosec // bits, not a quantity
	w0 := 2 | uint64(s.shard)<<4 | second<<36
	w1 := second>>28 | s.index<<16
	w2 := s.index>>48 | uint64(s.shard&15)<<16 | uint64(s.created)&(1<<36-1)<<20 | 2<<56 //nolint:gosec // bits

	w1, r := bits.Div64(w2, w1, grain) // w2 is less than grain
	w0, low := bits.Div64(r, w0, grain)
	high, middle := bits.Div64(w1, w0, grain)
	var digits [3 * grainDigits]byte
	for i, w := range [3]uint64{high, middle, low} {
		for j := (i+1)*grainDigits - 1; j >= i*grainDigits; j-- {
			digits[j] = byte('0' + w%10)
			w /= 10
		}
	}
	return append(dst, digits[1:]...) // 56 digits: the leading 2 bounds the number on both sides
}

func (s sequence) String() string { return string(s.append(nil)) }

// parseSequence reads a number that append has written, or one of that form.
func parseSequence(text string) (sequence, bool) {
	if !isNumber(text, 3*grainDigits-1) || len(text) != 3*grainDigits-1 {
		return sequence{}, false
	}
	var w [3]uint64 // from the lowest
	for i := range len(text) {
		carry := uint64(text[i] - '0')
		for j := range w {
			hi, lo := bits.Mul64(w[j], 10)
			var c uint64
			w[j], c = bits.Add64(lo, carry, 0)
			carry = hi + c
		}
	}
	s := sequence{
		created: int64(w[2] >> 20 & (1<<36 - 1)), //nolint:gosec // 36 bits
		shard:   uint32(w[0] >> 4),               //nolint:gosec // the lower 32 bits
		index:   w[1]>>16 | w[2]<<48,
		second:  int64(w[0]>>36 | w[1]&0xff<<28), //nolint:gosec // 36 bits
	}
	ok := w[2]>>56 == 2 && w[0]&15 == 2 && w[1]>>8&0xff == 0 && w[2]>>16&15 == uint64(s.shard&15) &&
		s.shard <= 1<<31-1 && s.index <= endIndex
	return s, ok
}
