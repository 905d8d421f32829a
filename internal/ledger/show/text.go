package show

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// JSON writes a value as JSON.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Print writes what the ledger knows of an event, one property per line.
func (e Event) Print(w io.Writer) error {
	out := &lines{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	out.add("event", e.ID)
	out.add("decision", string(e.Decision))
	out.add("decided", format(e.DecidedAt))
	if o := e.Outcome; o != nil {
		o.print(out)
	}
	if p := e.ParkInfo; p != nil {
		p.print(out)
	}
	if e.Decision != Unknown && e.Decision != Undecided {
		if e.Attempt == nil || e.Attempt.First.IsZero() {
			out.add("first attempt", e.otherFirst())
		}
		e.Attempt.print(out, "first attempt")
	}
	if e.Superseded > 0 {
		out.add("corrected", fmt.Sprintf("%d times: earlier contents under this id were parked without a call, and are ignored",
			e.Superseded))
	}
	switch {
	case e.OpenAttempt != nil && e.Decision != Undecided:
		out.add("open attempt", "yes: it is being tried, or was and the effect is not known; the decision counts")
	case e.OpenAttempt != nil:
		out.add("open attempt", "yes: it is being tried, or was and the effect is not known")
	default:
		out.add("open attempt", "no")
	}
	e.OpenAttempt.print(out, "opened")
	out.add("if it came now", e.Next.Detail)
	return out.flush()
}

// otherFirst describes the time of the first call, for a decision without an attempt.
func (e Event) otherFirst() string {
	if e.ParkInfo != nil && !e.ParkInfo.FirstAttempt.IsZero() {
		return format(e.ParkInfo.FirstAttempt)
	}
	return "none: no call was made"
}

func (o *Outcome) print(out *lines) {
	out.add("order", o.OrderID)
	out.add("amount", o.Amount+" "+o.Currency)
	out.add("reference", o.ExternalReference)
	out.add("payment", cmp.Or(o.PaymentID, "none"))
	for _, t := range o.Transactions {
		state := t.Status
		if t.StatusDetail != "" {
			state += " (" + t.StatusDetail + ")"
		}
		out.add("transaction", strings.Join([]string{cmp.Or(t.ID, "no id"), state, t.PaymentMethod, t.Amount}, ", "))
	}
	out.add("captured", format(o.CapturedAt))
	if o.Reason != "" {
		out.add("reason", fmt.Sprintf("%s (category %s, retry %s)", o.Reason, o.Category, o.Retry))
	}
	if o.ProviderReplayed {
		out.add("answered by", "the API's memory of the key: an earlier call had reached it")
	}
	out.add("outcome", o.Type+" "+o.ID)
}

func (p *ParkInfo) print(out *lines) {
	out.add("reason", string(p.Reason))
	out.add("detail", p.Detail)
	out.add("tries", fmt.Sprint(p.Tries))
	if p.HTTPStatus != 0 {
		out.add("last answer", fmt.Sprint(p.HTTPStatus))
	}
	out.add("request id", p.RequestID)
}

func (a *Attempt) print(out *lines, when string) {
	if a == nil {
		return
	}
	out.add(when, format(a.First))
	out.add("account", a.Account)
	out.add("order", a.OrderID)
	out.add("amount", strings.TrimSpace(a.Amount+" "+a.Currency))
	out.add("reference", a.Reference)
	out.add("fingerprints", strings.Trim("event "+cmp.Or(a.Event, "none")+", body "+cmp.Or(a.Body, "none"), " "))
	if a.Encoding != 0 {
		out.add("body's layout", fmt.Sprintf("version %d", a.Encoding))
	}
}

// lines writes names with their values. It leaves out empty values.
type lines struct {
	w   *tabwriter.Writer
	err error
}

func (l *lines) add(name, value string) {
	if value == "" || l.err != nil {
		return
	}
	_, l.err = fmt.Fprintf(l.w, "%s\t%s\n", name, plain(value))
}

func (l *lines) flush() error {
	if l.err != nil {
		return l.err
	}
	return l.w.Flush()
}

// plain replaces control characters, because some texts come from the API.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func format(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
