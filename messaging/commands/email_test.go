package commands

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMailIsShownWithoutItsTokenAndAddress(t *testing.T) {
	t.Parallel()
	c := SendEmail{UserID: "7", Email: "ada@example.com", TemplateCode: TemplateReset, Link: "https://e.com/?token=secret", Token: "secret"}
	var shown bytes.Buffer
	fmt.Fprintf(&shown, "%v %+v %s %v", c, &c, c, []any{c})
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("mail", "by value", c, "by pointer", &c)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("mail", "by value", c, "by pointer", &c)
	require.Contains(t, shown.String(), "password_reset to user 7")
	require.NotContains(t, shown.String(), "secret")
	require.NotContains(t, shown.String(), "ada@")
}
