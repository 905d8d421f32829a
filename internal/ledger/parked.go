package ledger

import (
	"context"
	"log/slog"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
	"payment-capture/internal/money"
)

// countParkedEvery is the time between two counts of the parked records.
const countParkedEvery = time.Minute

// Parked are the records that are parked according to the ledger.
type Parked struct {
	Records map[event.ParkReason]int   // by reason; a known reason is never missing
	Amounts map[money.Currency]float64 // their sum in units of the currency, of those whose amount is known
}

// Parked returns the last count of the parked records, which is at most a minute old; nil:
// the ledger was not read to its end yet.
func (l *Ledger) Parked() *Parked { return l.parked.Load() }

// countParked counts the parked records every minute, until ctx ends.
func (l *Ledger) countParked(ctx context.Context) {
	for ctx.Err() == nil {
		counted, err := withStore(ctx, l, func(s *store.Store) (*Parked, error) { return parkedIn(ctx, s) })
		switch {
		case err == nil:
			l.parked.Store(counted)
		case ctx.Err() == nil:
			l.log.DebugContext(ctx, "counting parked records failed", slog.Any("error", err))
		}
		pause(ctx, countParkedEvery)
	}
}

func parkedIn(ctx context.Context, s *store.Store) (*Parked, error) {
	p := &Parked{Records: make(map[event.ParkReason]int), Amounts: make(map[money.Currency]float64)}
	for _, reason := range event.ParkReasons() {
		p.Records[reason] = 0
	}
	minor := make(map[money.Currency]int64)
	err := s.Parked(ctx, func(id string, d store.Decision) error {
		decision, err := entry.DecodeDecision(id, d.Value)
		if err != nil {
			return err
		}
		p.Records[decision.ParkInfo.Reason]++
		if amount := decision.Attempt.Amount; !amount.IsZero() {
			minor[amount.Currency()] += amount.Minor()
		}
		return nil
	})
	for currency, sum := range minor {
		p.Amounts[currency] = money.Units(sum, currency)
	}
	return p, err
}

// Problems returns what is wrong with the ledger, by kind, and whether it is the case: the
// causes of a halt, and what may make the ledger stale.
func (l *Ledger) Problems() map[string]bool {
	all := l.availability.problems()
	all["disk"] = l.disk.Reason() != ""
	all["write"] = l.writer.problem() != ""
	all["read"] = l.faults.reason() != ""
	all["open_transaction"] = time.Since(time.Unix(l.openSeen.Load(), 0)) <= faultShown
	return all
}

// Unread returns how long ago the ledger was last read to its end; 0: it was never.
func (l *Ledger) Unread() time.Duration { return l.fresh.age() }
