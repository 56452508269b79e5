// Package openapi writes the API's document, OpenAPI 3.1, from the routes and their types: what it says
// of a path, a field or a fault is read from what serves them, so that it cannot say anything else.
//
// A field is described where it is declared, by the tags doc, example, format, enum, minimum, maximum,
// minLength, maxLength and anyof: one of the fields that have it must be there. https://spec.openapis.org/oas/v3.1.1
package openapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"user-service/platform/fault"
	"user-service/platform/web"
)

// object is a JSON object; its keys are written in order.
type object = map[string]any

// Describe writes the document of routes.
func Describe(routes []web.Route, title, version, description string) ([]byte, error) {
	s := newSchemas()
	paths := map[string]object{}
	for _, route := range routes {
		if route.Summary == "" { // a part of a page
			continue
		}
		for _, path := range []string{route.Path, route.Also} {
			if path == "" {
				continue
			}
			full := route.Base + path
			if paths[full] == nil {
				paths[full] = object{}
			}
			paths[full][strings.ToLower(route.Method)] = operation(s, route, full)
		}
	}
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title": title, "version": version, "description": description,
			"license": object{"name": "MIT", "identifier": "MIT"},
		},
		"servers": []object{{"url": "/", "description": "where this document comes from"}},
		"tags":    tags,
		"paths":   paths,
		"components": object{
			"schemas": s.components, "headers": headers, "parameters": parameters,
			"securitySchemes": object{
				"bearer":     object{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "The access token of a signed-in user."},
				"serviceKey": object{"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The key of a sibling service."},
			},
		},
	})
}

var tags = []object{
	{"name": "auth", "description": "Accounts, sign-in and tokens."},
	{"name": "users", "description": "Profiles and preferences."},
	{"name": "notifications", "description": "Push notifications."},
	{"name": "health", "description": "For probes and operators."},
	{"name": "documents", "description": "What others read to work with the service."},
}

// operation describes a route at one of its paths.
func operation(s *schemas, route web.Route, path string) object {
	o := object{
		"operationId": operationID(route.Method, path), "summary": route.Summary, "tags": []string{tagOf(route)},
		"description": described(route), "responses": responses(s, route), "security": security(route.Access),
	}
	params := []object{refTo("parameters", "CorrelationID"), refTo("parameters", "TraceParent")}
	if route.Writes() {
		params = append(params, refTo("parameters", "RequestID"))
	}
	o["parameters"] = append(params, s.parameters(route.In)...)
	if route.TakesBody() {
		body := s.input(route.In)
		o["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": body}}}
	}
	return o
}

func described(route web.Route) string {
	text := strings.TrimSuffix(route.Summary, "?") + "."
	if route.Writes() {
		text += " With an `X-Request-ID` it takes effect once, however often it is sent within 24 hours."
	}
	return text
}

func tagOf(route web.Route) string {
	if route.Document != nil {
		return "documents"
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(route.Path, "/"), "/")
	return first
}

// operationID is getApiV1UsersById of GET /api/v1/users/{id}/.
func operationID(method, path string) string {
	var id strings.Builder
	id.WriteString(strings.ToLower(method))
	for word := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune("/-_.", r) }) {
		word = strings.TrimSuffix(word, "}")
		if name, variable := strings.CutPrefix(word, "{"); variable {
			word = "by" + capitalised(name)
		}
		id.WriteString(capitalised(word))
	}
	return id.String()
}

func security(access web.Access) []object {
	bearer, key := object{"bearer": []string{}}, object{"serviceKey": []string{}}
	switch access {
	case web.Bearer, web.Staff:
		return []object{bearer}
	case web.Service:
		return []object{key, bearer}
	}
	return []object{}
}

// responses are the success and, by status, all that can be refused.
func responses(s *schemas, route web.Route) object {
	all := object{strconv.Itoa(max(route.Status, http.StatusOK)): successOf(s, route)}
	byStatus := map[int][]*fault.Fault{}
	for _, f := range route.Refusals() {
		status := web.StatusOf(f)
		byStatus[status] = append(byStatus[status], f)
	}
	for status, faults := range byStatus {
		all[strconv.Itoa(status)] = refusalOf(s, route, status, faults)
	}
	return all
}

func successOf(s *schemas, route web.Route) object {
	if route.Document != nil {
		mediaType, _, _ := strings.Cut(route.Document.Type, ";")
		return object{
			"description": route.Summary, "headers": object{"X-Correlation-ID": refTo("headers", "X-Correlation-ID"), "Cache-Control": refTo("headers", "Cache-Control")},
			"content": object{mediaType: object{"schema": contentOf(s, mediaType, route.Document.Of)}},
		}
	}
	description := route.Message
	if description == "" {
		description = route.Summary
	}
	return object{
		"description": description, "headers": headersOf(route, http.StatusOK),
		"content": object{"application/json": object{"schema": s.success(route.Out)}},
	}
}

// contentOf says what a document holds.
func contentOf(s *schemas, mediaType string, of reflect.Type) object {
	switch {
	case of != nil:
		return s.of(of, false)
	case mediaType == "application/json":
		return object{"type": "object"}
	}
	return object{"type": "string"}
}

func refusalOf(s *schemas, route web.Route, status int, faults []*fault.Fault) object {
	examples, codes := object{}, []string{}
	for _, f := range faults {
		if _, known := examples[f.Code]; known {
			continue
		}
		codes = append(codes, f.Code)
		value := object{"success": false, "message": f.Message, "error": f.Code}
		if len(f.Fields) > 0 {
			value["errors"] = f.Fields
		}
		examples[f.Code] = object{"value": value}
	}
	schema := object{"allOf": []object{refTo("schemas", "Refusal"), {"properties": object{"error": object{"enum": codes}}}}}
	if route.Reports && status == http.StatusServiceUnavailable {
		schema, examples = s.report(route.Out, codes), object{}
	}
	content := object{"schema": schema}
	if len(examples) > 0 {
		content["examples"] = examples
	}
	return object{
		"description": http.StatusText(status), "headers": headersOf(route, status),
		"content": object{"application/json": content},
	}
}

func headersOf(route web.Route, status int) object {
	names := []string{"X-Correlation-ID"}
	switch status {
	case http.StatusUnauthorized:
		names = append(names, "WWW-Authenticate")
	case http.StatusTooManyRequests, http.StatusConflict, http.StatusServiceUnavailable:
		names = append(names, "Retry-After")
	}
	if route.Limited() {
		names = append(names, "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
	}
	if route.Writes() && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		names = append(names, "Idempotency-Replayed")
	}
	all := object{}
	for _, name := range names {
		all[name] = refTo("headers", name)
	}
	return all
}

var headers = object{
	"X-Correlation-ID":     header("The id of this request, in every log line and message it caused.", "string", "0190a8c1-7b7e-7cc3-98c4-dc0c0c07398f"),
	"Retry-After":          header("Seconds after which another try makes sense.", "integer", 2),
	"RateLimit-Limit":      header("Requests that may come at once.", "integer", 30),
	"RateLimit-Remaining":  header("Requests that may come right now.", "integer", 29),
	"RateLimit-Reset":      header("Seconds until all of them may come again.", "integer", 2),
	"WWW-Authenticate":     header("How to prove who asks, RFC 6750.", "string", `Bearer realm="user-service"`),
	"Idempotency-Replayed": header("`true`: this is the reply to the first request with this X-Request-ID.", "string", "true"),
	"Cache-Control":        header("How long the document may be kept.", "string", "public, max-age="+strconv.Itoa(int((5*time.Minute).Seconds()))),
}

func header(description, kind string, example any) object {
	return object{"description": description, "schema": object{"type": kind}, "example": example}
}

var parameters = object{
	"CorrelationID": parameter("X-Correlation-ID", "An id of the caller's that ties together all that the request causes; one is made where none is sent.",
		object{"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}, "order-4711"),
	"TraceParent": parameter("traceparent", "The caller's trace, W3C Trace Context.",
		object{"type": "string"}, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
	"RequestID": parameter("X-Request-ID", "An id of the caller's under which the request takes effect once: printable ASCII.",
		object{"type": "string", "pattern": "^[ -~]{1,255}$"}, "3f0c8a56-0b0e-4c7c-9a35-6f5c6c1e8f10"),
}

func parameter(name, description string, schema object, example string) object {
	return object{"name": name, "in": "header", "required": false, "description": description, "schema": schema, "example": example}
}

func refTo(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }
