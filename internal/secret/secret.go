// Package secret protects texts that must never be shown: access tokens, payer
// tokens, passwords. Printing, logging or marshalling a [Text] writes a fixed
// placeholder. Only Reveal returns the content, so every use can be found.
// A [Source] is a secret that may change while the process runs.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted is what a non-empty secret prints as.
const Redacted = "[redacted]"

// Text is a secret. Its zero value is "no secret".
type Text struct{ plain string }

// New returns a secret with this content.
func New(plain string) Text { return Text{plain: plain} }

// Reveal returns the content. Call it only where the content is sent to its
// receiver.
func (t Text) Reveal() string { return t.plain }

// IsZero reports whether there is no content.
func (t Text) IsZero() bool { return t.plain == "" }

// String returns the placeholder, or "" for an empty secret.
func (t Text) String() string {
	if t.plain == "" {
		return ""
	}
	return Redacted
}

// Format writes String for every verb, because fmt would otherwise write the content in
// its message about a wrong verb such as %d.
func (t Text) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, t.String()) // because fmt.State keeps its own errors
}

// LogValue returns String, for log/slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText returns String, for encoding/json and similar packages.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText sets the content to the text.
func (t *Text) UnmarshalText(text []byte) error {
	t.plain = string(text)
	return nil
}
