package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPictureIsWellFormed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, report{Jobs: []result{{Job: "<&>", Ratio: 1.2, Bar: 0.9}, {Job: "relay", Ratio: 0.7, Bar: 0.8}}}.draw(&out))
	drawn := map[string]int{}
	for in := xml.NewDecoder(&out); ; {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if element, ok := token.(xml.StartElement); ok {
			drawn[element.Name.Local]++
		}
	}
	require.Equal(t, 2, drawn["rect"], "a bar for each job")
	require.Equal(t, 4, drawn["line"], "no work, the floor, and a mark for each job")
}
