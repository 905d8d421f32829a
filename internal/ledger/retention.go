package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
)

// With a retention the broker deletes old records, and each instance removes old entries
// from its store. Instances need not do so at the same time: one that still knows more
// publishes an outcome again, or leaves an event parked, where another one parks the event
// as too old. None charges it, which is up to the rule book: see [rules.Rules.Unfit].

// unfitPolicy returns in which way the topic deletes records too early; "" if in none, or if
// its configuration may not be read.
func (l *Ledger) unfitPolicy(config map[string]string) string {
	const policy, compact, age, size = "cleanup.policy", "compact", "retention.ms", "retention.bytes"
	wrong := func(key, why, want string) string {
		return fmt.Sprintf("topic %q has %s=%s, %s: set it to %s", l.conf.Topic, key, config[key], why, want)
	}
	keep := l.conf.Retention
	switch got, ok := config[policy]; {
	case !ok || strings.TrimSpace(got) == compact:
		return ""
	case keep == 0:
		return wrong(policy, "which deletes records, and LEDGER_RETENTION is 0", compact)
	case !strings.Contains(got, compact):
		return wrong(policy, "which does not compact", "compact,delete")
	case tooShort(config[age], keep.Milliseconds()):
		return wrong(age, fmt.Sprintf("which is less than LEDGER_RETENTION (%s)", keep), strconv.FormatInt((keep+SweepEvery).Milliseconds(), 10))
	case tooShort(config[size], math.MaxInt64):
		return wrong(size, "which deletes records of any age", "-1")
	}
	return ""
}

// tooShort reports whether a limit of the topic is below the least that it may be. A
// negative one is no limit, and an empty one was not reported.
func tooShort(limit string, least int64) bool {
	n, err := strconv.ParseInt(limit, 10, 64)
	return err == nil && n >= 0 && n < least
}

// continueAt makes the store go on at the start of a partition's log, below which the broker
// deleted records that were not read; the error ends the session. Those records came after
// the last one that was read: if that is younger than the retention, so were they, and the
// ledger lost them.
func (l *Ledger) continueAt(partition int32, start int64) error {
	read, err := l.store.Positions() // only this goroutine changes the store
	if err != nil {
		return err
	}
	p := read[partition]
	if p.Next > 0 && time.Since(p.Written) < l.conf.Retention-event.ClockTolerance {
		return l.lost(fmt.Sprintf("the records of partition %d from offset %d to %d were deleted, although they were written after %s, "+
			"within LEDGER_RETENTION (%s)", partition, p.From, start-1, p.Written.UTC().Format(time.RFC3339), l.conf.Retention))
	}
	b := l.store.NewBatch()
	b.SetPosition(partition, store.Position{Next: max(p.Next, start), Epoch: -1, From: start, Written: p.Written})
	if err := b.Commit(); err != nil {
		return err
	}
	l.log.Info("ledger continues where the log starts", slog.Int64("partition", int64(partition)), slog.Int64("from", p.From),
		slog.Int64("offset", start))
	return errAgain
}

// SweepEvery is the time between two sweeps of the local store. The topic keeps records for
// so much longer than the retention, so that it does not have fewer than a store.
const SweepEvery = 24 * time.Hour

// sweep removes old entries from the store, first once it is complete and then daily,
// until ctx ends.
func (l *Ledger) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		removed, err := withStore(ctx, l, func(s *store.Store) (int, error) { return l.sweepStore(ctx, s, began.Add(-l.conf.Retention)) })
		switch {
		case err == nil:
			l.log.InfoContext(ctx, "old decisions removed from the local store",
				slog.Int("decisions", removed), slog.Duration("retention", l.conf.Retention), slog.Duration("took", time.Since(began)))
		case ctx.Err() == nil:
			l.fault("old entries cannot be removed from the ledger's local store", err)
		}
		pause(ctx, SweepEvery)
	}
}

// sweepStore removes what was written before a time. An attempt whose result nobody learned
// is nowhere else, so it is logged.
func (l *Ledger) sweepStore(ctx context.Context, s *store.Store, before time.Time) (decisions int, err error) {
	decisions, err = s.Sweep(ctx, before, func(_ string, d decision) (store.Index, error) {
		_, _, under, err := entry.Summary(d.Value)
		return store.Index(under), err
	})
	if err != nil {
		return decisions, err
	}
	attempts, err := s.SweepAttempts(before) //nolint:contextcheck // local reads, which do not wait
	if err != nil {
		return decisions, err
	}
	l.claims.sweep(before)
	for _, a := range attempts {
		attempt, err := entry.DecodeAttempt(a.Value)
		if err != nil {
			return decisions, err
		}
		l.log.WarnContext(ctx, "undecided attempt forgotten", slog.String("event_id", a.ID), slog.String("order_id", attempt.OrderID),
			slog.String("external_reference", attempt.Reference), slog.Time("first_attempt", attempt.First))
	}
	return decisions, nil
}
