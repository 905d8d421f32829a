// Package secret holds text that must never be shown: access tokens, payer
// tokens, passwords. Printing, logging or marshalling a [Text] gives a fixed
// placeholder; only Reveal gives the content, so that every use can be found.
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

// New makes a secret of plain text.
func New(plain string) Text { return Text{plain: plain} }

// Reveal gives the content. Call it only where the content leaves for the
// place that it is meant for.
func (t Text) Reveal() string { return t.plain }

// IsZero reports whether there is no content.
func (t Text) IsZero() bool { return t.plain == "" }

// String gives the placeholder, or "" for an empty secret.
func (t Text) String() string {
	if t.plain == "" {
		return ""
	}
	return Redacted
}

// Format prints String whatever the verb: a wrong verb such as %d would
// otherwise print the content in its complaint.
func (t Text) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, t.String()) // fmt.State keeps its own errors
}

// LogValue is String, for log/slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText is String, for encoding/json and its like.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes the content as it is.
func (t *Text) UnmarshalText(text []byte) error {
	t.plain = string(text)
	return nil
}
