package event_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"slices"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/schemas"
)

// resendExamples returns the headers of the valid or the invalid examples.
func resendExamples(t *testing.T, kind string) map[string][]event.Header {
	t.Helper()
	files, err := fs.Glob(schemas.FS, path.Join("examples", "resend", kind, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s examples: %v", kind, err)
	}
	found := make(map[string][]event.Header)
	for _, file := range files {
		content, err := schemas.FS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var headers map[string]string
		if err := json.Unmarshal(content, &headers); err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			found[file] = append(found[file], event.Header{Key: name, Value: []byte(headers[name])})
		}
	}
	return found
}

func TestResendHeadersAreThoseOfTheSchema(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 250_000_000, time.FixedZone("", -3*3600))
	both := event.Resend{ParkedAt: at, FirstAttempt: at.Add(-time.Hour)}
	for name, resend := range map[string]event.Resend{"tried": both, "never tried": {ParkedAt: at}} {
		headers := make(map[string]string)
		for _, h := range resend.Headers() {
			headers[h.Key] = string(h.Value)
			if !event.IsResendHeader(h.Key) {
				t.Errorf("%s: %s is not recognised as a header of a resend", name, h.Key)
			}
		}
		document, err := json.Marshal(headers)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schemas.ResendHeaders, document); err != nil {
			t.Errorf("%s: %s: %v", name, document, err)
		}
		got := event.ResendOf(event.Message{Headers: resend.Headers()})
		if got == nil || !got.ParkedAt.Equal(resend.ParkedAt) || !got.FirstAttempt.Equal(resend.FirstAttempt) {
			t.Errorf("%s: %v is read as %+v", name, headers, got)
		}
		if name == "tried" {
			if want := described(t, schemas.ResendHeaders).names(); !slices.Equal(slices.Sorted(maps.Keys(headers)), want) {
				t.Errorf("the headers are %v, the schema's %v", headers, want)
			}
		}
	}
}

func TestResendExamples(t *testing.T) {
	t.Parallel()
	for file, headers := range resendExamples(t, "valid") {
		if event.ResendOf(event.Message{Headers: headers}) == nil {
			t.Errorf("%s is not read as a mark", file)
		}
	}
	// A damaged mark causes no call.
	for file, headers := range resendExamples(t, "invalid") {
		if got := event.ResendOf(event.Message{Headers: headers}); got != nil {
			t.Errorf("%s is read as %+v", file, got)
		}
	}
}

// A record that is sent again keeps its id.
func TestResendHeadersDoNotChangeTheRecordID(t *testing.T) {
	t.Parallel()
	m := event.Message{
		Key: []byte("k"), Value: []byte("no event"), Headers: []event.Header{{Key: "own", Value: []byte("1")}},
		Timestamp: recordTime,
	}
	resent := m
	resent.Headers = append(slices.Clone(m.Headers), event.Resend{ParkedAt: recordTime, FirstAttempt: recordTime}.Headers()...)
	if got, want := event.RecordID(resent), event.RecordID(m); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
