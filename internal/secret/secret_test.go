package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"payment-capture/internal/secret"
)

func TestPrintingNeverShowsTheSecret(t *testing.T) {
	t.Parallel()
	const plain = "APP_USR-very-secret"
	type wrapped struct {
		Token   secret.Text
		Pointer *secret.Text
	}
	s := secret.New(plain)
	w := wrapped{Token: s, Pointer: &s}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", w)
	}
	raw, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(raw)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", slog.Any("secret", s), slog.Any("wrapped", w))
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", slog.Any("secret", s), slog.Any("wrapped", w))

	if strings.Contains(out.String(), plain) || strings.Contains(out.String(), fmt.Sprintf("%x", plain)) {
		t.Errorf("the output contains the secret:\n%s", out.String())
	}
	if !strings.Contains(out.String(), secret.Redacted) {
		t.Errorf("no placeholder in:\n%s", out.String())
	}
	if s.Reveal() != plain {
		t.Errorf("Reveal() = %q, want the content", s.Reveal())
	}
}
