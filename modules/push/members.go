package push

import (
	"bytes"
	"encoding/json"
)

const jsonSpace = " \t\r\n" // RFC 8259 section 2

// membersOf gives the members of a JSON object as they stand in it: none of null, and of several with one name the
// last. The object must be UTF-8.
//
// encoding/json goes through them by reflection and copies each: that takes several times as long, which shows where
// thousands of messages come in a second.
func membersOf(object []byte) (members map[string]json.RawMessage, err error) {
	object = bytes.Trim(object, jsonSpace)
	if !bytes.HasPrefix(object, []byte{'{'}) || !json.Valid(object) {
		err = json.Unmarshal(object, &members) // says what is wrong, and where
		return members, err
	}
	members = make(map[string]json.RawMessage)
	for rest := bytes.TrimLeft(object[1:], jsonSpace); rest[0] != '}'; rest = bytes.TrimLeft(rest, jsonSpace+",") {
		end := textEnd(rest)
		name, _ := textOf(rest[:end])
		rest = bytes.TrimLeft(rest[end:], jsonSpace+":")
		end = valueEnd(rest)
		members[name] = bytes.TrimRight(rest[:end:end], jsonSpace)
		rest = rest[end:]
	}
	return members, nil
}

// textEnd is where the string ends that valid JSON begins with.
func textEnd(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// valueEnd is where the value ends that the rest of a valid object begins with.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch b[i] {
		case '"':
			i += textEnd(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
}
