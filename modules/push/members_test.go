package push

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzMembers has the members of every object be those that encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, object := range []string{
		"", " ", "null", "{", "{}", " { } ", "[]", `"a"`, "1", `{"a":1}`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1} x`,
		"\t{ \"a\" :\r\n \"b\" , \"c\" : [ 1 , { \"d\" : \"}\" } ] }\n", `{"a":"\"","b\\":"\\","c\"d":{"e":"]"}}`, `{"a":1,"a":null,"\u0061":[]}`,
		`{"":{"":[[],{},"",0]}}`, `{"a":"\ud800","\ud800":"a"}`, "{\"\xff\":1}", "{\"\\\xff\":1}", `{"a":tru}`, "\ufeff{}", "\u00a0{}", "\v{}",
	} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		if !utf8.Valid(object) {
			return // refused before
		}
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(object, &want)
		members, err := membersOf(object)
		require.Equal(t, wantErr == nil, err == nil, "%v, not %v", err, wantErr)
		if wantErr == nil {
			require.Equal(t, want, members)
		}
	})
}
