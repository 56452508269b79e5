package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"user-service/platform/fault"
)

// maxBody is the most a request may carry, in bytes.
const maxBody = 1 << 20

var (
	errTooLarge = fault.New(fault.TooLarge, "body_too_large", "The body is larger than 1 MiB.")
	errNotJSON  = fault.New(fault.UnsupportedType, "unsupported_media_type", "Send the body as `Content-Type: application/json`, UTF-8.")
	errTooSlow  = fault.New(fault.TooSlow, "request_timeout", "The body came too slowly.")
	errSyntax   = fault.New(fault.Invalid, "invalid_json", "The body is not valid JSON in UTF-8.")
	errNoObject = fault.New(fault.Invalid, "invalid_json", "The body must be a JSON object.")
)

// decode reads a body, if dest takes one, and path and query into dest, a pointer to a struct, strictly by the names of its
// tags. Unknown fields are ignored. Every field of a wrong type, null where null has no meaning, and
// every missing field that is neither a pointer nor a Nullable is reported, all at once.
func decode(req *http.Request, body []byte, dest any) error {
	value := reflect.ValueOf(dest).Elem()
	if value.NumField() == 0 {
		return nil
	}
	fields := fault.Fields{}
	if err := decodeAddress(req, value, fields); err != nil {
		return err
	}
	if body != nil {
		if err := decodeObject(body, value, "", fields); err != nil {
			return err
		}
	}
	return fields.Err()
}

func takesBody(of reflect.Type) bool {
	for field := range of.Fields() {
		if field.Tag.Get("json") != "" {
			return true
		}
	}
	return false
}

func read(req *http.Request) ([]byte, error) {
	mediaType, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || mediaType != "application/json" || (charset != "" && charset != "utf-8") {
		return nil, errNotJSON
	}
	if req.ContentLength > maxBody {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, req.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, errTooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errTooSlow
	}
	if err != nil || !utf8.Valid(body) || !json.Valid(body) {
		return nil, errSyntax
	}
	return body, nil
}

// decodeObject goes through the fields itself: encoding/json would take `EMAIL` for `email` and
// stop at the first field of a wrong type.
func decodeObject(raw []byte, dest reflect.Value, prefix string, fields fault.Fields) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return errNoObject
	}
	for i := range dest.NumField() {
		name := dest.Type().Field(i).Tag.Get("json")
		if name == "" {
			continue // not of the body
		}
		value, present := members[name]
		decodeField(value, present, dest.Field(i), prefix+name, fields)
	}
	return nil
}

func decodeField(raw json.RawMessage, present bool, dest reflect.Value, name string, fields fault.Fields) {
	if nullable, ok := reflect.TypeAssert[nullable](dest.Addr()); ok {
		if present {
			nullable.present()
			if !isNull(raw) {
				decodeField(raw, true, nullable.target(), name, fields)
			}
		}
		return
	}
	optional := dest.Kind() == reflect.Pointer
	switch {
	case !present && optional:
	case !present:
		fields.Add(name, "This field is required.")
	case isNull(raw):
		fields.Add(name, "This field may not be null.")
	case optional:
		dest.Set(reflect.New(dest.Type().Elem()))
		decodeField(raw, true, dest.Elem(), name, fields)
	case dest.Kind() == reflect.Struct:
		if decodeObject(raw, dest, name+".", fields) != nil {
			fields.Add(name, "Must be an object.")
		}
	default:
		decodeValue(raw, dest, name, fields)
	}
}

func decodeValue(raw json.RawMessage, dest reflect.Value, name string, fields fault.Fields) {
	if json.Unmarshal(raw, dest.Addr().Interface()) != nil {
		fields.Add(name, cmp.Or(expected[dest.Kind()], "Is of the wrong type."))
		return
	}
	// PostgreSQL cannot store it, and no text a person writes has it.
	if hasNull(raw) {
		fields.Add(name, "Null characters are not allowed.")
	}
}

// hasNull finds \u0000 at any depth; valid JSON has no other way to say it.
func hasNull(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(raw[i:], []byte(`\u0000`)) {
			return true
		}
		i++ // what is escaped may be a backslash
	}
	return false
}

var expected = map[reflect.Kind]string{
	reflect.String: "Must be a string.",
	reflect.Bool:   "Must be true or false.",
	reflect.Int:    "Must be a whole number.",
	reflect.Int64:  "Must be a whole number.",
	reflect.Map:    "Must be an object.",
	reflect.Slice:  "Must be a list.",
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// Nullable is a field for which absent, null and a value are three different wishes.
type Nullable[T any] struct {
	Present bool // the client sent the field
	Value   *T   // nil: the client sent null
}

type nullable interface {
	present()
	target() reflect.Value
}

func (n *Nullable[T]) present() { n.Present = true }

func (n *Nullable[T]) target() reflect.Value {
	n.Value = new(T)
	return reflect.ValueOf(n.Value).Elem()
}
