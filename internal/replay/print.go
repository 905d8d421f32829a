package replay

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"payment-capture/internal/skips"
)

// String returns the description of a class for an operator.
func (c Class) String() string {
	switch c {
	case AnsweredCaptured:
		return "answered from the ledger: captured"
	case AnsweredRejected:
		return "answered from the ledger: rejected"
	case StaysParked:
		return "stays parked"
	case Corrected:
		return "not called: it was parked, and corrected since under the same id"
	case Waits:
		return "CAPTURED FOR THE FIRST TIME, once its time is reached"
	case First:
		return "CAPTURED FOR THE FIRST TIME"
	case Again:
		return "TRIED AGAIN under the same key"
	case LookUpFirst:
		return "looked up at the API, then TRIED AGAIN under the same key"
	case LookUpThenPark:
		return "looked up at the API, and parked if the payment is not found"
	case ParkTooOld:
		return "parked: older than CAPTURE_MAX_EVENT_AGE"
	case ParkInFuture:
		return "parked: its time is in the future"
	case ParkWrongCurrency:
		return "parked: not in CURRENCY"
	case ParkReference:
		return "parked: another event is captured for its reference"
	case ParkDuplicate:
		return "parked: another event is captured for the same payment"
	case ParkConflicting:
		return "parked: another event has its id"
	case ParkInvalid:
		return "parked: not a valid event"
	case OtherType:
		return "skipped: of another type"
	case OtherAccount:
		return "skipped: for another account"
	case Tombstone:
		return "skipped: a record without a value (tombstone)"
	case DecidedSince:
		return "not sent: decided, or parked again, since it was parked"
	case Duplicate:
		return "not sent: a possible duplicate, which would be charged; name it by --event, --order or --reason"
	case Superseded:
		return "not sent: the event was parked again, and the later parked record is sent"
	case DigestGone:
		return "not sent: too large for the parked topic, and no longer in the input"
	case DigestDiffers:
		return "not sent: too large for the parked topic, and its offset in the input has another record"
	case NotParked:
		return "not sent: not a parked record"
	case Timeless:
		return "not sent: it has no time of its own, and the input topic would replace the record's time"
	}
	return string(c)
}

// Print writes the plan as a table, followed by remarks.
func (p *Plan) Print(w io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.AppendHeader(table.Row{"what happens", "records", "sent", "events", "money"})
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 1, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft},
		{Number: 2, Align: text.AlignRight},
		{Number: 3, Align: text.AlignRight},
		{Number: 4, Align: text.AlignRight},
		{Number: 5, WidthMax: 40, WidthMaxEnforcer: text.WrapSoft},
	})
	for _, r := range p.Rows {
		t.AppendRow(table.Row{r.Class, r.Records, r.Sent, r.Events, r.MoneyText()})
	}
	t.AppendFooter(table.Row{fmt.Sprintf("of %d read", p.Scanned), p.chosen(), p.Send, "", ""})
	t.Render()
	if p.chosen() == 0 {
		_, _ = fmt.Fprintf(w, "none of the %d records that were read is selected\n", p.Scanned) // for operators only
	}
	p.printSkipped(w)
	for _, n := range []struct {
		records int64
		what    string
	}{
		{p.Elsewhere, "go to the partition of their key, because the input topic does not have their partition"},
		{p.Restamped, "get the present time, because the input topic does not keep times, or would refuse or soon delete old records"},
	} {
		if n.records > 0 {
			_, _ = fmt.Fprintf(w, "%d of the records %s\n", n.records, n.what) // for operators only
		}
	}
}

// printSkipped writes the table of skipped types and accounts.
func (p *Plan) printSkipped(w io.Writer) {
	lines := skips.Lines(p.Skipped)
	if len(lines) == 0 {
		return
	}
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.AppendHeader(table.Row{"skipped, by type or account", "records"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}})
	for _, l := range lines {
		t.AppendRow(table.Row{l.Label, l.Records})
	}
	t.Render()
}

func (p *Plan) chosen() (n int64) {
	for _, r := range p.Rows {
		n += r.Records
	}
	return n
}

// JSON writes the plan for a program.
func (p *Plan) JSON(w io.Writer) error {
	type row struct {
		Class   Class             `json:"class"`
		Records int64             `json:"records"`
		Sent    int64             `json:"sent"`
		Events  int64             `json:"events"`
		Money   map[string]string `json:"money,omitempty"`
	}
	view := struct {
		Scanned   int64         `json:"scanned"`
		Chosen    int64         `json:"chosen"`
		Send      int64         `json:"send"`
		Elsewhere int64         `json:"to_the_partition_of_their_key"`
		Restamped int64         `json:"with_the_present_time"`
		Rows      []row         `json:"classes"`
		Skipped   []skips.Count `json:"skipped"`
	}{p.Scanned, p.chosen(), p.Send, p.Elsewhere, p.Restamped, []row{}, p.Skipped}
	for _, r := range p.Rows {
		out := row{r.Class, r.Records, r.Sent, r.Events, make(map[string]string)}
		for c := range r.Money {
			out.Money[string(c)] = r.text(c)
		}
		view.Rows = append(view.Rows, out)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(view)
}
