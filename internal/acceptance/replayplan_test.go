//go:build synctests || integration

package acceptance

import (
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/replay"
	"payment-capture/internal/simulator"
)

// planner plans replays with the rules of the service.
type planner struct {
	*world
	rule func(*config.Config)
}

// withLedger calls use with the current ledger.
func (p planner) withLedger(use func(*ledger.Ledger)) {
	p.t.Helper()
	l := ledger.New(ledger.Config{
		Kafka: p.kafkaConfig(), Topic: p.topics.ledger, Dir: "replay", FS: vfs.NewMem(),
		Log: slog.New(slog.DiscardHandler),
	})
	if err := l.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	if err := l.CatchUp(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	use(l)
}

// replay plans a replay and sends the records if send is set.
func (p planner) replay(l *ledger.Ledger, s replay.Selection, send bool) *replay.Plan {
	p.t.Helper()
	ctx, c := p.t.Context(), p.config("replay")
	p.rule(&c)
	r, err := replay.New(ctx, replay.Config{
		Kafka: p.kafkaConfig(), Input: p.topics.input, Parked: p.topics.parked, Selection: s, Partitioner: replay.SamePartition,
		Rules:  replay.Rules{Rules: app.Rules(c), Decoder: app.Decoder(c)},
		Ledger: l, Scratch: "scratch", FS: vfs.NewMem(), State: filepath.Join(p.t.TempDir(), "state.json"),
		Log: slog.New(slog.NewJSONHandler(p.log, nil)),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Close()
	plan, err := r.Plan(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	if send {
		if _, err := r.Send(ctx, plan); err != nil {
			p.t.Fatal(err)
		}
	}
	return plan
}

// classes plans a replay of each event alone within a selection, and returns the
// classes. An event that the selection does not match has none.
func (p planner) classes(ids []string, of replay.Selection) map[string]replay.Class {
	p.t.Helper()
	classes := make(map[string]replay.Class)
	p.withLedger(func(l *ledger.Ledger) {
		for _, id := range ids {
			of.Events = []string{id}
			rows := p.replay(l, of, false).Rows
			rows = slices.DeleteFunc(rows, func(r replay.Row) bool { return r.Class == replay.Superseded })
			if len(rows) > 1 {
				p.t.Fatalf("event %s is planned as %+v", id, rows)
			}
			if len(rows) == 1 {
				classes[id] = rows[0].Class
			}
		}
	})
	return classes
}

// agree sends the selected records and compares the service's decisions with the plan.
func (p planner) agree(classes map[string]replay.Class, s replay.Selection) {
	p.t.Helper()
	since := p.watch()
	accept := p.commitEnds()
	p.withLedger(func(l *ledger.Ledger) { p.replay(l, s, true) })
	in := p.start("a", p.rule, accept)
	p.eventually("the copies are committed", func() bool { return p.lag() == 0 })
	in.stop()
	got := since()
	for id, class := range classes {
		want := expected(class)
		if want.parked == lookedUp && got[id].parked != "" {
			want.parked = got[id].parked
		}
		if got[id] != want {
			p.t.Errorf("%s was planned as %s, got %+v", id, string(class), got[id])
		}
	}
	if double := p.sim.Charges().DoubleCharges(); len(double) > 0 {
		p.t.Errorf("charged twice: %v", double)
	}
}

// attempted writes attempts on events of the input to the ledger, as a crashed instance
// leaves them.
func (w *world) attempted(attempts map[string]func(*event.ReadyToCapture) event.Attempt) {
	w.t.Helper()
	for _, r := range w.readAll(w.topics.input) {
		e, err := event.Decode(event.Message{Value: r.Value, Timestamp: r.Timestamp})
		if err != nil || attempts[e.ID] == nil {
			continue
		}
		value := entry.EncodeAttempt(attempts[e.ID](e))
		w.produce(&kgo.Record{Topic: w.topics.ledger, Key: entry.AttemptKey(e.ID, "owner"), Value: value})
	}
}

// happened is what the service did with a replayed event.
type happened struct {
	calls             int
	captured          bool
	rejected, replays int
	parked            string // the reason if it was parked
}

// watch returns a function that returns what has happened to each event since.
func (w *world) watch() func() map[string]happened {
	type place struct {
		partition int32
		offset    int64
	}
	calls, seen := w.sim.Charges().CallsByKey, make(map[place]bool)
	for _, r := range w.readAll(w.topics.parked) {
		seen[place{r.Partition, r.Offset}] = true
	}
	counts := func() map[string]happened {
		all := make(map[string]happened)
		for _, v := range w.decisions() {
			h := all[v.event]
			replayed, _ := v.data["replayed"].(bool)
			switch {
			case replayed:
				h.replays++
			case v.kind == "rejected":
				h.rejected++
			case v.kind == "captured":
				h.captured = true
			}
			all[v.event] = h
		}
		return all
	}
	before := counts()
	return func() map[string]happened {
		got := counts()
		for id, h := range got {
			h.calls = w.sim.Charges().CallsByKey[id] - calls[id]
			h.captured = h.captured && !before[id].captured
			h.rejected -= before[id].rejected
			h.replays -= before[id].replays
			got[id] = h
		}
		for _, r := range w.readAll(w.topics.parked) {
			if seen[place{r.Partition, r.Offset}] {
				continue
			}
			v := w.parse(r)
			h := got[v.event]
			h.parked = v.reason
			got[v.event] = h
		}
		return got
	}
}

// lookedUp stands for any park reason.
const lookedUp = "*"

// expected returns what a class predicts. In these tests lookups find nothing.
func expected(c replay.Class) happened {
	switch c {
	case replay.AnsweredCaptured, replay.AnsweredRejected:
		return happened{replays: 1}
	case replay.First, replay.Again, replay.LookUpFirst:
		return happened{calls: 1, captured: true}
	case replay.ParkTooOld:
		return happened{parked: "too_old"}
	case replay.ParkInFuture:
		return happened{parked: "time_in_future"}
	case replay.ParkWrongCurrency:
		return happened{parked: "wrong_currency"}
	case replay.ParkConflicting:
		return happened{parked: "conflicting_event"}
	case replay.ParkReference:
		return happened{parked: "reference_already_captured"}
	case replay.ParkDuplicate:
		return happened{parked: "possible_duplicate"}
	case replay.LookUpThenPark:
		return happened{parked: lookedUp}
	case replay.ParkInvalid:
		return happened{parked: "invalid_event"}
	}
	return happened{}
}

// parkedEarly writes a parked record of an order that the ledger does not know.
func (w *world) parkedEarly(o order) {
	w.t.Helper()
	r := w.record(o)
	m := event.EncodeParked(event.Message{Key: r.Key, Value: r.Value}, event.Position{Topic: w.topics.input},
		&event.ParkInfo{Reason: event.ParkUndecided})
	parked := &kgo.Record{Topic: w.topics.parked, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		parked.Headers = append(parked.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	w.produce(parked)
}

// declining is an API with a payer whose payments are declined.
func declining() simulator.Config {
	return simulator.Config{Script: simulator.Script{Payers: []simulator.Payer{{Token: "declined", Decline: "cc_rejected_other_reason"}}}}
}

// planAgrees checks that the service does what a plan predicts, for each kind of event.
func planAgrees(w *world) { replayAsPlanned(w, config.OncePerEvent) }

func planAgreesOncePerPayment(w *world) { replayAsPlanned(w, config.OncePerPayment) }

func planAgreesOncePerReference(w *world) { replayAsPlanned(w, config.OncePerReference) }

func replayAsPlanned(w *world, oncePer string) {
	p := planner{w, func(c *config.Config) { c.CaptureOncePer = oncePer }}
	begin := time.Now()
	before := w.start("a", p.rule)
	w.send(
		order{id: "captured"}, order{id: "rejected", token: "declined"}, order{id: "parked", currency: "BRL"},
		order{id: "too-old-then", time: begin.Add(-48 * time.Hour)},
	)
	w.eventually("all records are committed", func() bool { return w.lag() == 0 })
	before.stop()
	w.send(
		order{id: "fresh"}, order{id: "old", time: begin.Add(-25 * time.Hour)}, order{id: "future", time: begin.Add(2 * time.Hour)},
		order{id: "reals", currency: "BRL"}, order{id: "tried"}, order{id: "hours"}, order{id: "days"}, order{id: "others"},
		order{id: "otherwise"},
		order{id: "ahead"}, order{id: "little-known"}, order{id: "contradicted"}, order{id: "rival", order: "order-captured"},
		order{id: "rival-tried", order: "order-captured"}, order{id: "theirs", account: "other"},
	)
	tried := func(ago time.Duration, change func(*event.Attempt)) func(*event.ReadyToCapture) event.Attempt {
		return func(e *event.ReadyToCapture) event.Attempt {
			request, err := mercadopago.NewRequest(e)
			if err != nil {
				w.t.Fatal(err)
			}
			a := event.Attempt{
				First: time.Now().Add(-ago), Event: e.Fingerprint(), Body: event.FingerprintOf(request.Body),
				Encoding: mercadopago.EncodingVersion, Account: "main",
			}
			if change != nil {
				change(&a)
			}
			return a
		}
	}
	w.attempted(map[string]func(*event.ReadyToCapture) event.Attempt{
		"tried": tried(time.Minute, nil), "hours": tried(2*time.Hour, nil), "days": tried(48*time.Hour, nil), "ahead": tried(-time.Hour, nil),
		"rival-tried":  tried(time.Minute, nil),
		"others":       tried(time.Minute, func(a *event.Attempt) { a.Account = "another" }),
		"otherwise":    tried(time.Minute, func(a *event.Attempt) { a.Body = event.FingerprintOf(nil) }),
		"little-known": tried(time.Minute, func(a *event.Attempt) { *a = event.Attempt{First: a.First} }),
		"contradicted": tried(time.Minute, func(a *event.Attempt) { a.Event = event.FingerprintOf(nil) }),
	})
	var ids []string
	for _, s := range w.sent {
		if s.id != "theirs" {
			ids = append(ids, s.id)
		}
	}
	originals := replay.Selection{Partitions: []int32{0}, To: new(int64(len(w.sent)))}
	classes := p.classes(ids, originals)
	if kinds := slices.Compact(slices.Sorted(maps.Values(classes))); len(classes) != len(ids) || len(kinds) < 10 {
		w.t.Errorf("%d classes of %d events, of these kinds: %v", len(classes), len(ids), kinds)
	}
	p.agree(classes, originals)
	// Everything is decided now. A second replay also follows its plan.
	p.agree(p.classes(ids, originals), originals)

	// Parked events are attempted once more. Events that the plan calls hopeless are not
	// sent.
	const early = "parked-before-the-ledger"
	w.parkedEarly(order{id: early, time: begin.Add(-25 * time.Hour)})
	allParked := replay.Selection{All: true, Parked: true}
	parked := p.classes(append(ids, early), replay.Selection{Parked: true})
	if parked["too-old-then"] != replay.First || parked[early] != replay.ParkTooOld || parked["days"] != replay.LookUpThenPark ||
		parked["parked"] != replay.ParkWrongCurrency {
		w.t.Errorf("parked events are planned as %v", parked)
	}
	for id, class := range parked {
		if class == replay.ParkWrongCurrency || class == replay.ParkConflicting || class == replay.ParkReference {
			parked[id] = replay.StaysParked
		}
		if oncePer == config.OncePerPayment && strings.HasPrefix(id, "rival") { // only a selection that names them sends them
			parked[id] = replay.StaysParked
		}
	}
	p.agree(parked, allParked)
	if parked = p.classes([]string{early}, replay.Selection{Parked: true}); parked[early] != replay.First {
		w.t.Errorf("the event that the ledger has parked is planned as %s", string(parked[early]))
	}
	p.agree(parked, replay.Selection{Parked: true, Events: []string{early}})
	p.agree(p.classes(ids, originals), originals)
}
