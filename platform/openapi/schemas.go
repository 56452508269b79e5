package openapi

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"

	"user-service/platform/web"
)

// schemas are the components that types are described by, JSON Schema 2020-12.
type schemas struct {
	components object
	names      map[reflect.Type]string
	taken      map[string]bool
}

func newSchemas() *schemas {
	s := &schemas{components: object{}, names: map[reflect.Type]string{}, taken: map[string]bool{"Refusal": true}}
	s.components["Refusal"] = object{
		"type": "object", "description": "What every refusal looks like.", "required": []string{"success", "message", "error"}, "additionalProperties": false,
		"properties": object{
			"success": object{"const": false},
			"message": object{"type": "string", "description": "For people."},
			"error":   object{"type": "string", "description": "For machines: it does not change."},
			"errors": object{
				"type": "object", "description": "Of each field what is wrong with it; only with `validation_failed`.",
				"additionalProperties": object{"type": "array", "items": object{"type": "string"}},
			},
		},
	}
	return s
}

// success is the envelope around a type.
func (s *schemas) success(out reflect.Type) object {
	properties := object{"success": object{"const": true}, "message": object{"type": "string", "description": "For people."}}
	required := []string{"success", "message", "data"}
	if item, isList := web.ItemOf(out); isList {
		properties["data"] = object{"type": "array", "items": s.of(item, false)}
		properties["meta"] = s.of(reflect.TypeFor[web.Meta](), false)
		required = append(required, "meta")
	} else {
		properties["data"] = s.of(out, false)
	}
	return object{"type": "object", "required": required, "properties": properties, "additionalProperties": false}
}

// report is the envelope of a refusal that tells what is wrong in full.
func (s *schemas) report(out reflect.Type, codes []string) object {
	return object{
		"type": "object", "required": []string{"success", "message", "error"}, "additionalProperties": false,
		"properties": object{
			"success": object{"const": false}, "message": object{"type": "string"}, "error": object{"enum": codes}, "data": s.of(out, false),
		},
	}
}

// input is what a client sends. Fields that are not known are ignored, so they are no fault.
func (s *schemas) input(in reflect.Type) object { return s.of(in, true) }

// of describes a type; input is what clients send, and may leave out.
func (s *schemas) of(t reflect.Type, input bool) object {
	if held, nullable := web.NullableOf(t); nullable {
		return orNull(s.of(held, input))
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time", "examples": []string{"2026-01-31T12:00:00Z"}}
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		if input { // left out, but not null
			return s.of(t.Elem(), input)
		}
		return orNull(s.of(t.Elem(), input))
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem(), input)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem(), input)}
	case reflect.Struct:
		if t.Name() == "" {
			return s.fields(t, input)
		}
		return s.component(t, input)
	}
	return object{"type": "string"}
}

func orNull(schema object) object {
	if kind, plain := schema["type"].(string); plain {
		schema["type"] = []string{kind, "null"}
		return schema
	}
	return object{"anyOf": []object{schema, {"type": "null"}}}
}

// component describes a struct once, by its name, with its package's in front where that is taken.
func (s *schemas) component(t reflect.Type, input bool) object {
	name, known := s.names[t]
	if !known {
		name = capitalised(t.Name())
		if s.taken[name] {
			name = capitalised(t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]) + name
		}
		s.names[t], s.taken[name] = name, true
		s.components[name] = s.fields(t, input)
	}
	return refTo("schemas", name)
}

func (s *schemas) fields(t reflect.Type, input bool) object {
	properties, required := object{}, []string{}
	s.addFields(t, input, properties, &required)
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	if alternatives := s.alternatives(t); len(alternatives) > 0 {
		schema["anyOf"] = alternatives
	}
	if !input {
		schema["additionalProperties"] = false
	}
	return schema
}

// alternatives are the fields of which one must be there: those with the tag anyof.
func (s *schemas) alternatives(t reflect.Type) (all []object) {
	for field := range t.Fields() {
		if field.Tag.Get("anyof") != "true" {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		held, _ := web.NullableOf(field.Type)
		all = append(all, object{"required": []string{name}, "properties": object{name: s.of(held, true)}})
	}
	return all
}

func (s *schemas) addFields(t reflect.Type, input bool, properties object, required *[]string) {
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "" && field.Anonymous:
			s.addFields(field.Type, input, properties, required)
		case name == "" || name == "-":
		default:
			properties[name] = tagged(s.of(field.Type, input), field.Tag)
			_, nullable := web.NullableOf(field.Type)
			optional := options == "omitempty" || input && (nullable || field.Type.Kind() == reflect.Pointer)
			if !optional {
				*required = append(*required, name)
			}
		}
	}
}

// parameters are the fields that are read from the path and the query.
func (s *schemas) parameters(in reflect.Type) (all []object) {
	for field := range in.Fields() {
		if name := field.Tag.Get("path"); name != "" {
			all = append(all, segment(name, field.Tag))
		}
		switch name := field.Tag.Get("query"); {
		case name == "":
		case field.Type == reflect.TypeFor[web.Page]():
			all = append(all, pages...)
		default:
			all = append(all, object{
				"name": name, "in": "query", "required": field.Tag.Get("required") == "true", "description": field.Tag.Get("doc"),
				"schema": tagged(s.of(field.Type, true), field.Tag),
			})
		}
	}
	return all
}

func segment(name string, tag reflect.StructTag) object {
	if name == "id" {
		return object{
			"name": name, "in": "path", "required": true, "description": "A UUID.",
			"schema": object{"type": "string", "format": "uuid"}, "example": "0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f",
		}
	}
	return object{
		"name": name, "in": "path", "required": true, "description": tag.Get("doc"),
		"schema": object{"type": "string"}, "example": tag.Get("example"),
	}
}

var pages = []object{
	{"name": "page", "in": "query", "required": false, "description": "Which page, from 1.", "schema": object{"type": "integer", "minimum": 1, "maximum": web.MaxPage, "default": 1}},
	{"name": "limit", "in": "query", "required": false, "description": "How many on a page.", "schema": object{"type": "integer", "minimum": 1, "maximum": web.MaxLimit, "default": web.DefaultLimit}},
}

// tagged adds what the tags of a field say of it.
func tagged(schema object, tag reflect.StructTag) object {
	if text := tag.Get("doc"); text != "" {
		schema["description"] = text
	}
	if format := tag.Get("format"); format != "" {
		schema["format"] = format
	}
	if accepted := tag.Get("enum"); accepted != "" {
		values := []any{}
		for value := range strings.SplitSeq(accepted, ",") {
			values = append(values, value)
		}
		schema["enum"] = values
	}
	for _, bound := range []string{"minimum", "maximum", "minLength", "maxLength"} {
		if n, err := strconv.Atoi(tag.Get(bound)); err == nil {
			schema[bound] = n
		}
	}
	if text := tag.Get("example"); text != "" {
		schema["examples"] = []any{valueOf(text)}
	}
	return schema
}

// valueOf reads an example as JSON where it is a number or a truth value.
func valueOf(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if truth, err := strconv.ParseBool(text); err == nil {
		return truth
	}
	return text
}

func capitalised(word string) string {
	for i, r := range word {
		return string(unicode.ToUpper(r)) + word[i+len(string(r)):]
	}
	return word
}
