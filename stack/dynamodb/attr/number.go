package attr

import (
	"math/big"
	"strconv"
	"strings"
)

// Limits of DynamoDB's numbers: 38 significant digits, the first of which stands for 10^-130 to 10^125.
const (
	maxDigits    = 38
	maxMagnitude = 125
	minMagnitude = -130
)

// Messages of numbers that DynamoDB does not take.
const (
	notANumber  = "The parameter cannot be converted to a numeric value"
	tooPrecise  = "Attempting to store more than 38 significant digits in a Number"
	tooLarge    = "Number overflow. Attempting to store a number with magnitude larger than supported range"
	tooSmall    = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
	maxNumber   = 1 << 10 // characters of a number that are looked at: no number that fits needs more
	maxExponent = 1 << 16
)

// decimal is ±0.d₁d₂d₃… × 10^(magnitude+1): digits has no zeros at its ends, and is empty for zero.
type decimal struct {
	negative  bool
	digits    string
	magnitude int // the power of ten that the first digit stands for
}

// canonical returns the one form of a number that DynamoDB returns, without exponent or superfluous zeros, or a
// message that says why it is none.
func canonical(s string) (number, problem string) {
	if isCanonicalInteger(s) {
		return s, ""
	}
	d, ok := parseDecimal(s)
	if !ok {
		if s == "" {
			return "", notANumber
		}
		return "", notANumber + ": " + s
	}
	return d.canonical()
}

// isCanonicalInteger reports whether s is an integer of at most 38 digits as it should be; most numbers are.
func isCanonicalInteger(s string) bool {
	t := strings.TrimPrefix(s, "-")
	if t == "" || len(t) > maxDigits || t[0] == '0' && s != "0" {
		return false
	}
	for i := range len(t) {
		if t[i] < '0' || t[i] > '9' {
			return false
		}
	}
	return true
}

func (d decimal) canonical() (number, problem string) {
	switch {
	case d.digits == "":
		return "0", ""
	case d.magnitude > maxMagnitude:
		return "", tooLarge
	case d.magnitude < minMagnitude:
		return "", tooSmall
	case len(d.digits) > maxDigits:
		return "", tooPrecise
	}
	return d.String(), ""
}

// parseDecimal reads an optional sign, digits with an optional point, and an optional exponent.
func parseDecimal(s string) (d decimal, ok bool) {
	if len(s) > maxNumber {
		return d, false
	}
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.negative = s[0] == '-'
		s = s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e := strings.TrimPrefix(s[i+1:], "+")
		if strings.HasPrefix(s[i+1:], "+-") {
			return d, false
		}
		var err error
		if exponent, err = strconv.Atoi(e); err != nil || exponent > maxExponent || exponent < -maxExponent {
			// Out of any range, but still a number: what decides is its sign, unless it is zero.
			if !isInteger(e) {
				return d, false
			}
			exponent = maxExponent
			if e[0] == '-' {
				exponent = -maxExponent
			}
		}
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole+fraction == "" || !isDigits(whole) || !isDigits(fraction) {
		return d, false
	}
	all := whole + fraction
	digits := strings.TrimLeft(all, "0")
	d.magnitude = len(whole) - 1 - (len(all) - len(digits)) + exponent
	d.digits = strings.TrimRight(digits, "0")
	if d.digits == "" {
		return decimal{}, true
	}
	return d, true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isInteger(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && isDigits(s)
}

// String writes the number in full.
func (d decimal) String() string {
	if d.digits == "" {
		return "0"
	}
	b := make([]byte, 0, len(d.digits)+3+max(d.magnitude, -d.magnitude))
	if d.negative {
		b = append(b, '-')
	}
	switch point := d.magnitude + 1; {
	case point <= 0:
		b = append(b, '0', '.')
		for range -point {
			b = append(b, '0')
		}
		b = append(b, d.digits...)
	case point >= len(d.digits):
		b = append(b, d.digits...)
		for range point - len(d.digits) {
			b = append(b, '0')
		}
	default:
		b = append(b, d.digits[:point]...)
		b = append(b, '.')
		b = append(b, d.digits[point:]...)
	}
	return string(b)
}

// compareNumbers orders two canonical numbers by value.
func compareNumbers(a, b string) int {
	negA, negB := a[0] == '-', b[0] == '-'
	switch {
	case negA && !negB:
		return -1
	case negB && !negA:
		return 1
	case negA:
		return compareMagnitudes(b[1:], a[1:])
	}
	return compareMagnitudes(a, b)
}

func compareMagnitudes(a, b string) int {
	wholeA, fractionA, _ := strings.Cut(a, ".")
	wholeB, fractionB, _ := strings.Cut(b, ".")
	if len(wholeA) != len(wholeB) {
		return len(wholeA) - len(wholeB)
	}
	if c := strings.Compare(wholeA, wholeB); c != 0 {
		return c
	}
	return strings.Compare(fractionA, fractionB)
}

// addNumbers adds (or subtracts) two canonical numbers exactly.
func addNumbers(a, b string, subtract bool) (number, problem string) {
	if x, err := strconv.ParseInt(a, 10, 63); err == nil { // 63 bits: the sum fits in 64
		if y, err := strconv.ParseInt(b, 10, 63); err == nil {
			if subtract {
				y = -y
			}
			return strconv.FormatInt(x+y, 10), ""
		}
	}
	x, _ := parseDecimal(a)
	y, _ := parseDecimal(b)
	if subtract {
		y.negative = !y.negative
	}
	exponent := min(x.exponent(), y.exponent())
	sum := x.scaled(exponent)
	sum.Add(sum, y.scaled(exponent))
	text := sum.Text(10)
	d := decimal{negative: sum.Sign() < 0}
	text = strings.TrimPrefix(text, "-")
	d.magnitude = len(text) - 1 + exponent
	d.digits = strings.TrimRight(text, "0")
	if len(d.digits) > maxDigits {
		return "", tooLarge // DynamoDB calls a result that is too long too large
	}
	return d.canonical()
}

// exponent is the power of ten that the last digit stands for.
func (d decimal) exponent() int { return d.magnitude - len(d.digits) + 1 }

// scaled is the number in units of 10^exponent, which must not be above its own.
func (d decimal) scaled(exponent int) *big.Int {
	n := new(big.Int)
	if d.digits == "" {
		return n
	}
	n.SetString(d.digits, 10)
	shift := big.NewInt(int64(d.exponent() - exponent))
	n.Mul(n, shift.Exp(big.NewInt(10), shift, nil))
	if d.negative {
		n.Neg(n)
	}
	return n
}

// numberSize is what a number takes of an item's size: a byte for each pair of digits, counted from the decimal
// point, one for the exponent, and one for a minus sign.
func numberSize(s string) int {
	d, _ := parseDecimal(s)
	n := len(d.digits)
	if n == 0 {
		return 1
	}
	size := 1 + (n+1)/2
	if n%2 == 0 && d.magnitude%2 == 0 {
		size++
	}
	if d.negative {
		size++
	}
	return size
}

// appendNumberKey appends a number so that the order of the bytes is the order of the numbers, and none is a prefix of another.
func appendNumberKey(dst []byte, s string) []byte {
	d, _ := parseDecimal(s)
	if d.digits == "" {
		return append(dst, 0x80)
	}
	magnitude := byte(d.magnitude - minMagnitude)
	if !d.negative {
		dst = append(dst, 0x81, magnitude)
		dst = append(dst, d.digits...)
		return append(dst, 0)
	}
	dst = append(dst, 0x7f, ^magnitude)
	for i := range len(d.digits) {
		dst = append(dst, '0'+'9'-d.digits[i])
	}
	return append(dst, 0xff)
}
