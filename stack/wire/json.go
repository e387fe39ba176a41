package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decodeJSON reads an input; an empty body is an empty object. Unknown members are ignored, as AWS's services do.
func decodeJSON(body []byte, in any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	err := json.Unmarshal(body, in, jsontext.AllowInvalidUTF8(false))
	if err == nil {
		return nil
	}
	var refused *Error
	if errors.As(err, &refused) {
		return refused
	}
	return &Error{Code: "SerializationException", Message: serialization(err)}
}

// serialization words a decoding error as AWS's own decoder does where that is known, and says where it was.
func serialization(err error) string {
	var e *json.SemanticError
	if !errors.As(err, &e) {
		var s *jsontext.SyntacticError
		if errors.As(err, &s) {
			return fmt.Sprintf("The request is not valid JSON at byte %d: %v", s.ByteOffset, s.Err)
		}
		return "The request is not valid JSON: " + err.Error()
	}
	where := ""
	if p := string(e.JSONPointer); p != "" {
		where = " (at " + p + ")"
	}
	want := kindName(e.GoType)
	switch e.JSONKind {
	case jsontext.KindBeginObject:
		return "Start of structure or map found where not expected." + where
	case jsontext.KindBeginArray:
		return "Start of list found where not expected" + where
	case jsontext.KindString:
		if want == "Blob" {
			return "Input byte array has wrong encoding: not base64" + where
		}
		return "STRING_VALUE can not be converted to " + want + where
	case jsontext.KindNumber:
		return "NUMBER_VALUE can not be converted to " + want + where
	case jsontext.KindTrue:
		return "TRUE_VALUE can not be converted to " + want + where
	case jsontext.KindFalse:
		return "FALSE_VALUE can not be converted to " + want + where
	default:
		return "The request could not be read" + where + ": " + e.Error()
	}
}

func kindName(t reflect.Type) string {
	if t == nil {
		return "a value"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "String"
	case reflect.Int32:
		return "an Integer"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a Long"
	case reflect.Bool:
		return "Boolean"
	case reflect.Float64:
		return "a Double"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "Blob"
		}
		return "List"
	case reflect.Map, reflect.Struct:
		return "Map"
	default:
		return t.Kind().String()
	}
}

// encodeJSON appends an output to dst.
func encodeJSON(dst *bytes.Buffer, out any) error {
	if w, ok := out.(JSONWriter); ok {
		w.WriteJSON(dst)
		return nil
	}
	return json.MarshalWrite(dst, out, json.Deterministic(true))
}

func appendSeconds(dst []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(dst, ms/1000, 10)
	}
	return strconv.AppendFloat(dst, float64(ms)/1000, 'f', -1, 64)
}

func parseSeconds(v []byte) (time.Time, error) {
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsInf(f, 0) || math.Abs(f) > 1e12 {
		return time.Time{}, Errorf("SerializationException", "%s is not a timestamp; a number of seconds since 1970 is", v)
	}
	return time.UnixMilli(int64(math.Round(f * 1000))).UTC(), nil
}
