package verify

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/money"
)

// storeRecord stores what a record says. It is safe for concurrent use.
func (v *verifier) storeRecord(b batch, t *topic, r *kgo.Record) {
	at := position{topic: t.number, partition: r.Partition, offset: r.Offset}
	m := kafka.MessageOf(r)
	if t.has(roleLedger) {
		v.storeLedger(b, t, at, r)
		return
	}
	if t.has(roleParked) {
		if p, err := event.DecodeParked(m); err == nil {
			v.storeParked(b, t, at, r, p)
			return
		}
	}
	if t.has(roleOutcome) && v.storeOutcome(b, t, at, m) {
		return
	}
	switch {
	case t.has(roleInput):
		v.storeInput(b, at, m)
	case t.has(roleParked):
		v.sum.skipped.noParking.Add(1)
	}
}

func (v *verifier) storeInput(b batch, at position, m event.Message) {
	e, err := event.Decode(m)
	invalid, broken := errors.AsType[*event.InvalidError](err)
	if skipped, ok := errors.AsType[*event.SkipError](err); ok {
		v.sum.input.Add(skipped.Reason, skipped.Type)
		return
	}
	in := inputEntry{At: milli(m.Timestamp)}
	if v.snap.completed(at.partition, at.offset) {
		in.Flags |= flagCompleted
	}
	if v.inRange(m.Timestamp) {
		in.Flags |= flagInRange
	}
	if resend := event.ResendOf(m); resend != nil {
		in.ParkedAt = milli(resend.ParkedAt)
	}
	var id string
	switch {
	case broken:
		id = event.RecordID(m)
		in.Flags |= flagInvalid
		in.Plain, in.Order = plainDigest(m), invalid.Error()
	case e.Account != "" && e.Account != v.conf.Account:
		v.sum.input.Add(event.SkipOtherAccount, e.Account)
		id = e.ID
		in.Flags |= flagForeign
	default:
		id = e.ID
		in.Content, in.Amount, in.Order, in.Reference = e.Fingerprint(), stored(e.Amount), e.OrderID, e.ExternalReference
		in.Payer, in.Whole = digestOfText(e.PayerToken.Reveal()), wholeOf(e.Content())
	}
	b.entry(id, tagInput, at, in)
	if !in.has(flagForeign) && in.has(flagInRange) {
		v.events[at.partition].Add(1)
	}
	if !in.has(flagForeign) && in.has(flagCompleted) && v.snap.input.partitions[at.partition].foreign != "" {
		b.below(at, id, &in)
	}
	// A parked record names the event by what is in it, if that can be read;
	// else only by where the event's record lay.
	if broken || sizeOf(m) > int(v.snap.smallestParked())/2 {
		b.place(at, tagInput, at, placedInput{ID: id, Content: in.Content, Plain: in.Plain, Whole: in.Whole})
	}
}

// wholeOf is what is kept of all that decides about an event.
func wholeOf(content event.Fingerprint) digest { return digest(content[:len(digest{})]) }

func (v *verifier) inRange(at time.Time) bool {
	return (v.conf.Since.IsZero() || !at.Before(v.conf.Since)) && (v.conf.Until.IsZero() || at.Before(v.conf.Until))
}

func isSkip(err error) bool {
	_, ok := errors.AsType[*event.SkipError](err)
	return ok
}

// plainDigest is of a record without its timestamp and without the headers that
// sending it again adds: what is left of it in the parked topic.
func plainDigest(m event.Message) digest {
	m.Timestamp = time.Time{}
	return digestOfText(event.RecordID(m))
}

func sizeOf(m event.Message) int {
	n := len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// smallestParked returns the size of the largest record that the parked topic takes.
func (s *snapshot) smallestParked() int32 {
	for _, t := range s.topics {
		if t.has(roleParked) {
			return t.maxBytes
		}
	}
	return 0
}

// takeOutcome reports whether the record is one that claims to be an outcome.
func (v *verifier) storeOutcome(b batch, t *topic, at position, m event.Message) bool {
	o, id, err := event.DecodeOutcome(m)
	if invalid, ok := errors.AsType[*event.InvalidError](err); ok {
		b.finding(v.finding(InvalidOutcome, Finding{
			Detail: "it claims to be an outcome of this service, and " + invalid.Error(), Records: []string{v.snap.name(at)},
		}))
		return true
	}
	if err != nil {
		if _, ok := errors.AsType[*event.OtherSourceError](err); ok || !t.has(roleInput) {
			v.sum.skipped.otherOutcomes.Add(1)
			return true
		}
		return false
	}
	e := outcomeEntry{
		At: milli(m.Timestamp), Amount: stored(o.Amount), Order: digestOfText(o.OrderID), Reference: digestOfText(o.ExternalReference),
		Payment: o.PaymentID, CapturedAt: milli(o.CapturedAt),
	}
	e.Core, e.Whole = digestsOf(o)
	want := roleRejected
	if o.Type == event.TypeCaptured {
		want = roleCaptured
		e.Flags |= flagCaptured
	}
	for _, f := range []struct {
		set  bool
		flag flags
	}{
		{o.Replayed, flagReplayed},
		{o.ProviderReplayed, flagFromKey},
		{id != event.OutcomeID(o.EventID, o.Type).String(), flagWrongID},
		{!t.has(want), flagWrongTopic},
		{overpaid(o), flagOverpaid},
		{at.offset < t.partitions[at.partition].sure, flagSure},
	} {
		if f.set {
			e.Flags |= f.flag
		}
	}
	b.entry(o.EventID, tagOutcome, at, e)
	if o.PaymentID != "" {
		b.index(spacePayment, o.PaymentID, o.EventID)
	}
	if o.Type == event.TypeCaptured {
		b.index(spaceReference, o.ExternalReference, o.EventID)
	}
	return true
}

// digestsOf returns the digest of what must be the same whenever an outcome is
// produced for an event, and of what must be the same whenever it is replayed.
// Without a ledger a repeated outcome came from another answer of the API, and its
// `time` is that of the answer.
func digestsOf(o *event.Outcome) (core, whole digest) {
	texts := [][]byte{
		[]byte(o.Type), []byte(o.OrderID), []byte(o.Amount.String()), []byte(o.Amount.Currency()), []byte(o.ExternalReference),
		[]byte(o.PaymentID), []byte(o.Reason), []byte(o.Category), []byte(o.Retry), strconv.AppendInt(nil, milli(o.CapturedAt), 10),
	}
	for _, t := range o.Transactions {
		texts = append(texts, []byte(t.ID), []byte(t.Status), []byte(t.StatusDetail), []byte(t.PaymentMethod), []byte(t.Amount))
	}
	core = digestOf(texts...)
	whole = digestOf(core[:], strconv.AppendInt(nil, milli(o.Time), 10), []byte(o.TraceParent), strconv.AppendBool(nil, o.ProviderReplayed))
	return core, whole
}

// overpaid reports whether the approved payments of a capture sum up to more
// than its amount. Less is a discount.
func overpaid(o *event.Outcome) bool {
	var sum int64
	for _, t := range o.Transactions {
		if a, err := money.Parse(t.Amount, o.Amount.Currency()); err == nil && t.Status == "approved" {
			sum += a.Minor()
		}
	}
	return sum > o.Amount.Minor()
}

func (v *verifier) storeParked(b batch, t *topic, at position, r *kgo.Record, p event.ParkedRecord) {
	if p.Position.Topic != v.conf.Topics.Input {
		v.sum.skipped.otherParked.Add(1)
		return
	}
	e := parkedEntry{At: milli(r.Timestamp), First: milli(p.FirstAttempt), Reason: string(p.Reason)}
	if at.offset < t.partitions[at.partition].sure {
		e.Flags |= flagSure
	}
	var placed placedParked
	switch ev, err := event.Decode(p.Input); {
	case p.Digest != nil:
	case isSkip(err):
		// An earlier version parked it. What this version skips is not checked.
		v.sum.skipped.parkedSkips.Add(1)
		b.elsewhere(p.Position.ID, at)
		return
	case err != nil:
		placed.Plain = plainDigest(p.Input)
	case ev.Account != "" && ev.Account != v.conf.Account:
		v.sum.skipped.othersParked.Add(1)
		return
	case isRecordID(p.Position.ID):
		// The service did not accept the record as this event: it contradicted the
		// event, or it was invalid. A record without a timestamp is invalid if it has
		// no time of its own, and the parked record has a timestamp.
		e.Content, e.Whole = ev.Fingerprint(), wholeOf(ev.Content())
		placed.Plain, placed.ID = plainDigest(p.Input), ev.ID
	default:
		e.Content, e.Whole = ev.Fingerprint(), wholeOf(ev.Content())
		b.parked(ev.ID, p.Position.ID, at, e)
		return
	}
	placed.Named, placed.Entry = p.Position.ID, e
	b.place(position{topic: v.snap.input.number, partition: p.Position.Partition, offset: p.Position.Offset}, tagParked, at, placed)
}

func (v *verifier) storeLedger(b batch, t *topic, at position, r *kgo.Record) {
	kind, id, owner, err := entry.ParseKey(r.Key)
	sure := flags(0)
	if at.offset < t.partitions[at.partition].sure {
		sure = flagSure
	}
	switch {
	case err != nil:
	case !plainID(id):
		err = fmt.Errorf("%w: the key has no event id", entry.ErrUnreadable)
	case kind == entry.KindAttempt:
		err = v.storeAttempt(b, at, r, id, owner, sure)
	default:
		err = v.storeDecision(b, at, r, id, sure)
	}
	if err != nil {
		f := Finding{Detail: err.Error(), Records: []string{v.snap.name(at)}}
		if plainID(id) {
			f.EventID = id
		}
		b.finding(v.finding(InvalidLedgerRecord, f))
	}
}

// plainID reports whether it is an id of an event, or of a record.
func plainID(id string) bool {
	for i := range len(id) {
		if id[i] <= 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return id != "" && len(id) <= 80
}

func (v *verifier) storeAttempt(b batch, at position, r *kgo.Record, id, owner string, sure flags) error {
	e := attemptEntry{marked: marked{sure}, Owner: owner}
	if r.Value == nil {
		e.Flags |= flagGone
	} else {
		a, err := entry.DecodeAttempt(r.Value)
		if err != nil {
			return err
		}
		e.First = milli(a.First)
	}
	b.entry(id, tagAttempt, at, e)
	return nil
}

var errErased = errors.New("a decision is deleted from the ledger: the event can be charged again")

func (v *verifier) storeDecision(b batch, at position, r *kgo.Record, id string, sure flags) error {
	if r.Value == nil {
		return errErased
	}
	d, err := entry.DecodeDecision(id, r.Value)
	if err != nil {
		return err
	}
	e := decisionEntry{marked: marked{sure}, At: milli(d.At), First: milli(d.Attempt.First), Content: d.Attempt.Event}
	for _, content := range d.Superseded {
		e.Superseded = append(e.Superseded, wholeOf(content))
	}
	if d.Parked() {
		e.Flags |= flagParked
		e.Reason = string(d.ParkInfo.Reason)
	} else {
		if d.Outcome.Type == event.TypeCaptured {
			e.Flags |= flagCaptured
		}
		e.Amount = stored(d.Outcome.Amount)
		e.Core, e.Whole = digestsOf(d.Outcome)
	}
	v.sum.decided(e.At)
	b.entry(id, tagDecision, at, e)
	return nil
}
