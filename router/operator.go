package router

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// A pattern is compiled to rules of which one must hold ($or multiplied out); a rule is a list of conditions, which
// must all hold; a condition is a path with operators of which one must hold for one value at that path.
type rule []condition

type condition struct {
	path  string // the names down to the field, joined by dots
	depth int    // how deep the field is nested, for SNS's measure of complexity
	ops   []operator
	// values counts the elements of the pattern's array
	values int
}

type operatorKind uint8

const (
	opString      operatorKind = iota // a string, as it is
	opAddress                         // a string that is an IP address, in any spelling of it
	opNumber                          // a number by its value, or by its text where that is no float64
	opKeyword                         // true, false, null
	opPrefix                          // a string that begins with the text
	opPrefixFold                      // the same without regard to case
	opSuffix                          // a string that ends in the text
	opSuffixFold                      //
	opFold                            // equals-ignore-case
	opWildcard                        //
	opRange                           // numeric
	opCIDR                            //
	opExists                          // any value
	opAbsent                          // no value at the path
	opNotString                       // anything-but; the kinds below take several texts
	opNotNumber                       //
	opNotFold                         //
	opNotPrefix                       //
	opNotSuffix                       //
	opNotWildcard                     //
)

func (k operatorKind) negative() bool { return k >= opNotString }

type operator struct {
	kind  operatorKind
	text  string
	texts []string  // of negative operators
	nums  []float64 // of opNotNumber
	num   numeric
	span  span // of opRange
	block block
	glob  []glob // of opWildcard (one) and opNotWildcard
	fold  []fold // of the …Fold kinds (one) and opNotFold
}

// numeric is a number of a pattern or document: comparable by value if ok, else only by its text.
type numeric struct {
	value float64
	ok    bool
}

// span is a range of numbers.
type span struct {
	low, high         float64
	openLow, openHigh bool
}

var posInf, negInf = math.Inf(1), math.Inf(-1)

func (s span) holds(v float64) bool {
	return (v > s.low || v == s.low && !s.openLow) && (v < s.high || v == s.high && !s.openHigh)
}

// block is a range of IP addresses of one family.
type block struct{ low, high netip.Addr }

func (b block) holds(a netip.Addr) bool {
	return a.BitLen() == b.low.BitLen() && b.low.Compare(a) <= 0 && a.Compare(b.high) <= 0
}

// parseNumber tells the value of a JSON number. Numbers that a float64 cannot tell from their neighbours are not
// comparable: 0.1 is, 9007199254740993 and 1e400 are not.
func parseNumber(text []byte) numeric {
	var n uint64
	digits := text
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	if len(digits) <= 15 {
		i := 0
		for ; i < len(digits); i++ {
			c := digits[i] - '0'
			if c > 9 {
				break
			}
			n = n*10 + uint64(c)
		}
		if i == len(digits) {
			v := float64(n)
			if negative && n != 0 {
				v = -v
			}
			return numeric{v, true}
		}
	}
	return parseDecimal(string(text))
}

func parseDecimal(text string) numeric {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) {
		return numeric{}
	}
	digits, exponent := decimal(text)
	if len(digits) > 15 || v == 0 || exponent < -290 {
		// a float64 keeps 15 digits; beyond that, see whether it is this number that it prints
		d, e := decimal(strconv.FormatFloat(v, 'e', -1, 64))
		if d != digits || digits != "" && e != exponent {
			return numeric{}
		}
	}
	if v == 0 {
		v = 0 // not -0
	}
	return numeric{v, true}
}

// decimal is the digits of a number without zeros around them, and the power of ten of the first digit.
func decimal(text string) (digits string, exponent int) {
	text = strings.TrimPrefix(text, "-")
	mantissa, power, _ := strings.Cut(strings.ToLower(text), "e")
	if power != "" {
		n, err := strconv.Atoi(power)
		if err != nil {
			n = math.MaxInt32 // no float64 has such a power
		}
		exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent += len(digits) - len(fraction) - 1
	return strings.TrimRight(digits, "0"), exponent
}

// parseAddress reads an IP address as AWS does: a v4 address is four decimal numbers, with zeros before them or
// not; a v6 address has no zone and no dotted part, and is the v4 address that it maps, if it does. likely tells
// whether the text has the form of an address, though perhaps with numbers that are too large.
func parseAddress(s string) (a netip.Addr, ok, likely bool) {
	var v4 [4]byte
	part, digits, value := 0, 0, 0
	colons, dots, hex := 0, 0, false
	valid := true
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
			value = min(value*10+int(c-'0'), 256)
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			hex = true
		case c == ':':
			colons++
		case c == '.':
			if digits == 0 {
				return a, false, false
			}
			if value > 255 || part == 3 {
				valid = false
			} else {
				v4[part] = byte(value)
				part++
			}
			dots++
			digits, value = 0, 0
		default:
			return a, false, false
		}
	}
	switch {
	case colons > 0 && dots == 0:
		if colons < 2 {
			return a, false, true
		}
		a, err := netip.ParseAddr(s)
		return a.Unmap(), err == nil, true
	case colons > 0 || hex || dots != 3:
		return a, false, false
	}
	if digits == 0 {
		return a, false, false
	}
	if !valid || value > 255 {
		return a, false, true
	}
	v4[3] = byte(value)
	return netip.AddrFrom4(v4), true, true
}

// parseBlock reads a CIDR block, whose address need not be its first.
func parseBlock(s string) (block, string) {
	address, mask, _ := strings.Cut(s, "/")
	if parts := strings.Split(strings.TrimRight(s, "/"), "/"); len(parts) != 2 {
		return block{}, "Malformed CIDR, one '/' required"
	}
	mask = strings.TrimRight(mask, "/")
	n, err := strconv.ParseInt(mask, 10, 32)
	if err != nil {
		return block{}, "Malformed CIDR, mask bits must be an integer"
	}
	if n < 0 {
		return block{}, "Malformed CIDR, mask bits must not be negative"
	}
	a, ok, likely := parseAddress(address)
	if !ok && likely {
		return block{}, "Invalid IP address: " + address
	}
	if !ok {
		return block{}, "Nonstandard IP address: " + address
	}
	switch {
	case a.Is4() && n > 31:
		return block{}, "IPv4 mask bits must be < 32"
	case !a.Is4() && n > 127:
		return block{}, "IPv6 mask bits must be < 128"
	}
	low := netip.PrefixFrom(a, int(n)).Masked().Addr()
	high := low.AsSlice()
	for i := int(n); i < len(high)*8; i++ {
		high[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(high)
	return block{low, last}, ""
}
