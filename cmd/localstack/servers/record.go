package servers

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// record is what is remembered of a server. Only its starter can read it, so the passwords are safe
// and the process ids can be trusted.
type record struct {
	Version   string         `json:"version,omitempty"`
	Fast      bool           `json:"fast,omitempty"`
	Secret    string         `json:"secret,omitempty"`
	Node      string         `json:"node,omitempty"`      // name of RabbitMQ's data
	Elsewhere string         `json:"elsewhere,omitempty"` // folder of the data, if it is not the server's own
	Ports     map[string]int `json:"ports,omitempty"`
	Processes []Process      `json:"processes,omitempty"` // in order of their start
	Last      Process        `json:"last"`                // started last, whether it still runs or not
}

func recordPath(dir string) string { return filepath.Join(dir, "server.json") }

func loadRecord(dir string) (record, error) {
	var rec record
	err := ReadJSON(recordPath(dir), &rec)
	return rec, err
}

// save writes the record. A server that never ran leaves no trace.
func (i *Instance) save() error {
	if i.rec.Secret == "" {
		return nil
	}
	return WriteJSON(recordPath(i.dir), i.rec)
}

// ReadJSON reads a file written by WriteJSON. A missing file leaves v as it is.
func ReadJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// WriteJSON replaces a file in one step, readable by its owner only.
func WriteJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(path, append(text, '\n'))
}

// WriteFile replaces a file in one step, readable by its owner only.
func WriteFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Secret returns 32 random bytes in hex.
func Secret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b)
}
