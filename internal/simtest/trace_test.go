//go:build synctests

package simtest

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// trace records the requests of a run, in order. They are formatted only if the run
// fails.
type trace struct {
	began time.Time

	mu      sync.Mutex
	entries []*entry
	dropped int
}

const traceLimit = 20_000

// entry is one request of a process with its answer, or a note.
type entry struct {
	at         time.Time
	p          *process // nil: the harness
	note       string   // instead of the fields below
	step       step
	n          int
	version    int16
	key        string  // the idempotency key of a POST
	ends       []int64 // the end offsets of the ledger when a POST was sent
	fault      *fault
	answeredAt time.Time // zero: there was no answer
	lost       bool      // the answer did not reach the process
	answer     []byte
}

func (t *trace) add(e *entry) *entry {
	e.at = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) >= traceLimit {
		t.dropped++
		return e
	}
	t.entries = append(t.entries, e)
	return e
}

func (t *trace) request(p *process, s step, n int, version int16, f *fault) *entry {
	return t.add(&entry{p: p, step: s, n: n, version: version, fault: f})
}

func (t *trace) call(p *process, s step, n int, key string, ends []int64, f *fault) *entry {
	return t.add(&entry{p: p, step: s, n: n, key: key, ends: ends, fault: f})
}

func (t *trace) answer(e *entry, body []byte, lost bool) {
	body = append([]byte(nil), body[:min(len(body), 400)]...)
	t.mu.Lock()
	defer t.mu.Unlock()
	e.answeredAt, e.lost, e.answer = time.Now(), lost, body
}

// calls returns the POSTs of an event in order.
func (t *trace) calls(key string) []entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []entry
	for _, e := range t.entries {
		if e.note == "" && e.step == stepPOST && e.key == key {
			all = append(all, *e)
		}
	}
	return all
}

// posts returns all POSTs.
func (t *trace) posts() []entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []entry
	for _, e := range t.entries {
		if e.note == "" && e.step == stepPOST {
			all = append(all, *e)
		}
	}
	return all
}

// status returns the HTTP status that reached the process, or "".
func (e entry) status() string {
	if e.lost || e.answeredAt.IsZero() || !bytes.HasPrefix(e.answer, []byte("HTTP/1.1 ")) || len(e.answer) < 12 {
		return ""
	}
	return string(e.answer[9:12])
}

func (t *trace) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, e := range t.entries {
		fmt.Fprintf(&b, "%8.3fs %-4s %s\n", e.at.Sub(t.began).Seconds(), e.name(), e.describe())
	}
	if t.dropped > 0 {
		fmt.Fprintf(&b, "and %d more\n", t.dropped)
	}
	return b.String()
}

func (e *entry) name() string {
	if e.p == nil {
		return ""
	}
	return e.p.name
}

func (e *entry) describe() string {
	if e.note != "" {
		return e.note
	}
	what := fmt.Sprintf("%s #%d", e.step, e.n)
	if e.key != "" {
		what += " " + e.key
	}
	switch {
	case e.fault != nil && e.fault.effect <= inFlight:
		return fmt.Sprintf("%s → %s", what, e.fault.effect)
	case e.answeredAt.IsZero():
		return what + " → no answer"
	}
	what += fmt.Sprintf(" → %s after %s", e.summary(), e.answeredAt.Sub(e.at))
	if e.lost {
		what += ", lost"
	}
	return what
}

// summary returns the HTTP status or the error codes of the answer.
func (e *entry) summary() string {
	if e.step >= stepPOST {
		return string(e.answer)
	}
	resp := kmsg.ResponseForKey(int16(e.step))
	resp.SetVersion(e.version)
	body := e.answer
	if resp.IsFlexible() && len(body) > 0 {
		body = body[1:] // the header has no tagged fields
	}
	if err := resp.ReadFrom(body); err != nil {
		return "an answer of over 400 bytes"
	}
	codes := errorCodes(reflect.ValueOf(resp), nil)
	if len(codes) == 0 {
		return "ok"
	}
	return strings.Join(codes, ",")
}

// errorCodes returns the error codes in a response of any layout.
func errorCodes(v reflect.Value, codes []string) []string {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			codes = errorCodes(v.Elem(), codes)
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = errorCodes(v.Index(i), codes)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			if v.Type().Field(i).Name == "ErrorCode" && f.Kind() == reflect.Int16 {
				if err := kerr.TypedErrorForCode(int16(f.Int())); err != nil {
					codes = append(codes, err.Message)
				}
				continue
			}
			codes = errorCodes(f, codes)
		}
	}
	return codes
}

// logRing keeps the latest part of the services' logs.
type logRing struct {
	mu      sync.Mutex
	buf     []byte
	secrets map[string]bool // planted secrets that were logged
}

const logLimit = 1 << 20

func (l *logRing) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, planted := range []string{accessToken, payerTokens} {
		if bytes.Contains(p, []byte(planted)) {
			if l.secrets == nil {
				l.secrets = make(map[string]bool)
			}
			l.secrets[planted] = true
		}
	}
	if len(l.buf)+len(p) > logLimit {
		l.buf = append(l.buf[:0], l.buf[len(l.buf)/2:]...)
	}
	l.buf = append(l.buf, p...)
	return len(p), nil
}

func (l *logRing) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}

// shown returns the planted secrets that were logged.
func (l *logRing) shown() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for s := range l.secrets {
		all = append(all, s)
	}
	return all
}
