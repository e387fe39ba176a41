package kinesis

import (
	"math/big"
	"testing"
)

// A number of a real stream, as the Kinesis examples of AWS's documentation show it, and what is known of it.
func TestSequenceIsOfAWSsForm(t *testing.T) {
	t.Parallel()
	const real = "49543463076548007577105092703039560359975228518395012686"
	n, _ := new(big.Int).SetString(real, 10)
	if n.BitLen() != 186 || len(real) != 56 {
		t.Fatalf("the example has %d bits and %d digits", n.BitLen(), len(real))
	}
	s := sequence{created: 1_700_000_000, shard: 21, index: 7, second: 1_700_000_123}
	m, ok := new(big.Int).SetString(s.String(), 10)
	if !ok || m.BitLen() != 186 || len(s.String()) != 56 {
		t.Fatalf("%s has %d bits and %d digits", s, m.BitLen(), len(s.String()))
	}
	if got := m.Text(16); got != "2"+"06553f100"+"5"+"0000000000000007"+"00"+"06553f17b"+"00000015"+"2" {
		t.Errorf("the number is %s in hexadecimal", got)
	}
}

func TestSequencesRise(t *testing.T) {
	t.Parallel()
	ordered := []sequence{
		{created: 100, shard: 3, index: 0, second: 100},
		{created: 100, shard: 3, index: 1, second: 90000},
		{created: 100, shard: 3, index: 2, second: 500},
		{created: 100, shard: 3, index: endIndex, second: 100},
		{created: 101, shard: 4, index: 0, second: 101},
	}
	for i := 1; i < len(ordered); i++ {
		if a, b := ordered[i-1].String(), ordered[i].String(); a >= b {
			t.Errorf("%s of %+v is not below %s of %+v", a, ordered[i-1], b, ordered[i])
		}
	}
}

func TestHashKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"0": true, "1": true, "340282366920938463463374607431768211455": true,
		"340282366920938463463374607431768211456": false, "999999999999999999999999999999999999999": false,
		"": false, "-1": false, "01": false, "1e3": false, "1000000000000000000000000000000000000000": false,
	} {
		k, ok := parseHashKey(text)
		if ok != want || ok && k.String() != text {
			t.Errorf("%q is read as %v, %v", text, k, ok)
		}
	}
	// https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html: MD5 maps partition keys to 128-bit integers.
	if got := hashOf("partitionKey-03").String(); got != md5Decimal("partitionKey-03") {
		t.Errorf("the hash is %s", got)
	}
	if lastHashKey.next() != (hashKey{}) || (hashKey{}).previous() != lastHashKey || (hashKey{1, 0}).previous() != (hashKey{0, ^uint64(0)}) {
		t.Error("the neighbours are wrong")
	}
}

func TestEvenly(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 300; n++ {
		starts := evenly(n)
		size := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(int64(n)))
		for i, s := range starts {
			if want := new(big.Int).Mul(size, big.NewInt(int64(i))); s.big().Cmp(want) != 0 {
				t.Fatalf("range %d of %d begins at %s, want %s", i, n, s, want)
			}
		}
	}
}

func FuzzSequence(f *testing.F) {
	f.Add("49543463076548007577105092703039560359975228518395012686")
	f.Add(sequence{created: 1 << 35, shard: 1<<31 - 1, index: endIndex, second: 1<<36 - 1}.String())
	f.Add("0")
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parseSequence(text)
		if ok && s.String() != text {
			t.Errorf("%q is read as %+v, which is %s", text, s, s)
		}
	})
}

func FuzzSequenceFields(f *testing.F) {
	f.Add(int64(1), uint32(2), uint64(3), int64(4))
	f.Fuzz(func(t *testing.T, created int64, shard uint32, index uint64, second int64) {
		s := sequence{created & (1<<36 - 1), shard & (1<<31 - 1), index & endIndex, second & (1<<36 - 1)}
		got, ok := parseSequence(s.String())
		if !ok || got != s {
			t.Errorf("%+v is written %s and read %+v, %v", s, s, got, ok)
		}
	})
}
