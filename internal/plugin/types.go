package plugin

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is a whole number and a unit: "512", "256KB", "6MB", "1GB"; the units
// are powers of 1,024, as AWS counts, and KiB, MiB and GiB mean the same.
type Size int64

// Sizes of one unit.
const (
	KB Size = 1 << 10
	MB Size = 1 << 20
	GB Size = 1 << 30
)

var units = []struct {
	name string
	size Size
}{{"GB", GB}, {"MB", MB}, {"KB", KB}, {"GiB", GB}, {"MiB", MB}, {"KiB", KB}, {"B", 1}}

// UnmarshalText reads the form that Size describes.
func (s *Size) UnmarshalText(text []byte) error {
	num, unit := string(text), Size(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(num, u.name); ok {
			num, unit = n, u.size
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(num), 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
		return fmt.Errorf("%q is not a size; write a whole number and KB, MB or GB, such as 256MB", text)
	}
	*s = Size(n) * unit
	return nil
}

// MarshalText writes s in the largest unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	for _, u := range units[:3] {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Secret is a text that is never printed: every form of it but a conversion to string is "***".
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

func (s Secret) GoString() string { return s.String() }

// MarshalText keeps the secret out of JSON and YAML, and so out of logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
