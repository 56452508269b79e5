package web

import (
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"user-service/platform/fault"
)

// ErrNoSuchAddress is the fault of a path that leads nowhere.
var ErrNoSuchAddress = fault.New(fault.NotFound, "not_found", "There is nothing at this address.")

var errQuery = fault.Fields{"query": {"Must be name=value pairs with & between them, in percent-encoding."}}.Err()

const givenOnce = "Must be given once."

// decodeAddress reads what the path and the query say. A field of a wrong form is reported by name.
func decodeAddress(req *http.Request, dest reflect.Value, fields fault.Fields) error {
	var query url.Values
	for i := range dest.NumField() {
		tag, field := dest.Type().Field(i).Tag, dest.Field(i)
		if name := tag.Get("path"); name != "" {
			value, ok := segment(name, mux.Vars(req)[name])
			if !ok {
				return ErrNoSuchAddress
			}
			field.SetString(value)
		}
		if name := tag.Get("query"); name != "" {
			if query == nil {
				var err error
				if query, err = url.ParseQuery(req.URL.RawQuery); err != nil {
					return errQuery
				}
			}
			decodeQuery(query, name, field, fields)
		}
	}
	return nil
}

// segment is a UUID where it is called id, and any text otherwise.
func segment(name, text string) (value string, ok bool) {
	if name != idSegment {
		return text, utf8.ValidString(text) && !hasControl(text)
	}
	id, err := uuid.Parse(text)
	return id.String(), err == nil
}

// decodeQuery leaves a field as it is when the query does not name it.
func decodeQuery(query url.Values, name string, field reflect.Value, fields fault.Fields) {
	if page, ok := reflect.TypeAssert[*Page](field.Addr()); ok {
		page.decode(query, fields)
		return
	}
	if !query.Has(name) {
		return
	}
	text := query.Get(name)
	if len(query[name]) > 1 {
		fields.Add(name, givenOnce)
		return
	}
	if !utf8.ValidString(text) || hasControl(text) {
		fields.Add(name, "Control characters are not allowed, and the text must be UTF-8.")
		return
	}
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	switch field.Kind() {
	case reflect.Bool:
		value, err := strconv.ParseBool(text)
		if err != nil {
			fields.Add(name, "Must be true or false.")
		}
		field.SetBool(value)
	default:
		field.SetString(text)
	}
}

func hasControl(text string) bool {
	for _, r := range text {
		if r < ' ' || r == 0x7f {
			return true
		}
	}
	return false
}
