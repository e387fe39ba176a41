package router

import (
	"github.com/millrace/millrace/event"
)

// AppendAttribute appends a message attribute to the JSON object that a policy of [SNSAttributes] is matched
// against: dst is that object without its closing brace. A Number is a JSON number, a String.Array is the array of its
// elements, a String is a string; custom types ("Number.cents") are what their beginning says. Attributes of other
// types, Binary among them, take no part in filtering, and are not appended; neither are a Number that is no
// number and a String.Array that is no JSON array, which SNS does not let be published.
func AppendAttribute(dst []byte, name, dataType, value string) []byte {
	var text []byte
	switch base(dataType) {
	case "String":
		text = event.AppendString(nil, value)
	case "Number":
		n, ok := jsonNumber(value)
		if !ok {
			return dst
		}
		text = []byte(n)
	case "String.Array":
		if !event.ValidJSON([]byte(value)) || first([]byte(value)) != '[' {
			return dst
		}
		text = []byte(value)
	default:
		return dst
	}
	if len(dst) == 0 {
		dst = append(dst, '{')
	} else if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = event.AppendString(dst, name)
	dst = append(dst, ':')
	return append(dst, text...)
}

func base(dataType string) string {
	if len(dataType) >= 12 && dataType[:12] == "String.Array" {
		return dataType[:12]
	}
	for i := range len(dataType) {
		if dataType[i] == '.' {
			return dataType[:i]
		}
	}
	return dataType
}

func first(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// jsonNumber is the text of a Number attribute as JSON writes it: "+5", ".5", "5." and "007" are numbers for SNS.
func jsonNumber(s string) (string, bool) {
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = "-"
		}
		s = s[1:]
	}
	i := 0
	digits := func() string {
		from := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return s[from:i]
	}
	whole := digits()
	fraction := ""
	if i < len(s) && s[i] == '.' {
		i++
		fraction = digits()
	}
	if whole+fraction == "" {
		return "", false
	}
	for len(whole) > 1 && whole[0] == '0' {
		whole = whole[1:]
	}
	if whole == "" {
		whole = "0"
	}
	out := sign + whole
	if fraction != "" {
		out += "." + fraction
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		from := i
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if digits() == "" {
			return "", false
		}
		out += s[from:i]
	}
	return out, i == len(s)
}
