package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEncodedDataIsAnsweredAsItsValueWouldBe whatever there is in the message.
func TestEncodedDataIsAnsweredAsItsValueWouldBe(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"Done.", "a \"quoted\" <b>\u2028 one", ""} {
		for _, data := range []any{map[string]any{"name": "</Ada>"}, []int{1}, 0, ""} {
			want, err := success(http.StatusCreated, message, data)
			require.NoError(t, err)
			encoded := new(bytes.Buffer)
			encoder := json.NewEncoder(encoded)
			encoder.SetEscapeHTML(false)
			require.NoError(t, encoder.Encode(data))
			got, err := success(http.StatusCreated, message, Encoded[any](bytes.TrimSpace(encoded.Bytes())))
			require.NoError(t, err)
			require.Equal(t, string(want.body), string(got.body))
			require.Equal(t, want.status, got.status)
			require.True(t, json.Valid(got.body))
		}
	}
}

func TestEncodedDataThatIsEmptyIsAnError(t *testing.T) {
	t.Parallel()
	_, err := success(http.StatusOK, "Done.", Encoded[any](nil))
	require.Error(t, err)
}
