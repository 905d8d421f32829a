package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/ledger/store"
)

// restore makes the ledger available when everything is read that is in the topic now.
func (l *Ledger) restore(ctx context.Context, read map[int32]store.Position, end context.CancelCauseFunc) {
	start, first := time.Now(), l.watermarks.progress().records
	if err := l.compareEpochs(ctx, read); err != nil {
		end(err)
		return
	}
	asked := time.Now()
	ends, err := l.ends(ctx)
	if err != nil {
		return // ctx ended
	}
	if behind := l.watermarks.progress().behind; behind > 0 {
		l.log.InfoContext(ctx, "reading the ledger", slog.String("topic", l.conf.Topic), slog.Int64("behind", behind))
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		l.logProgress(ctx, start, first)
	}()
	err = l.reach(ctx, ends)
	if err == nil {
		if l.watermarks.progress().records-first > manyRecords {
			debug.FreeOSMemory() // from here on little is needed
		}
		l.fresh.set(asked)
		l.availability.restored()
		l.log.InfoContext(ctx, "ledger read", slog.String("topic", l.conf.Topic),
			slog.Int64("records", l.watermarks.progress().records-first), slog.Duration("took", time.Since(start)))
	}
	<-logged
}

// manyRecords is from how many on reading them takes memory that is worth giving
// back.
const manyRecords = 100_000

// tellEvery is how often a long reading is logged.
const tellEvery = 5 * time.Second

// logProgress logs how far reading has come, until it is done.
func (l *Ledger) logProgress(ctx context.Context, start time.Time, first int64) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		l.availability.mu.Lock()
		restoring, changed := l.availability.restoring, l.availability.changed
		l.availability.mu.Unlock()
		if !restoring {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			continue
		case <-tick.C:
		}
		now := l.watermarks.progress()
		records := now.records - first
		rate := float64(records) / time.Since(start).Seconds()
		attrs := []any{
			slog.Int64("records", records), slog.Int64("behind", now.behind), slog.Int("percent", int(100*now.part)),
			slog.Int("records_per_second", int(rate)),
		}
		if rate > 0 {
			attrs = append(attrs, slog.Duration("left", time.Duration(float64(now.behind)/rate*float64(time.Second)).Round(time.Second)))
		}
		l.log.InfoContext(ctx, "reading the ledger", attrs...)
	}
}

// epochUnknownFor is how long a leader may not know an epoch that was read: one
// that was replaced, and has not noticed it yet, does not know the new one.
const epochUnknownFor = time.Minute

// compareEpochs checks with the leaders that the records that were read are still in
// the log, because an elected leader may not have had them. The error halts the
// ledger, or is ctx's; temporary errors are retried.
func (l *Ledger) compareEpochs(ctx context.Context, read map[int32]store.Position) error {
	for began := time.Now(); ; {
		var req kadm.OffsetForLeaderEpochRequest
		known := false
		for partition, p := range read {
			if p.Epoch >= 0 {
				req.Add(l.conf.Topic, partition, p.Epoch)
				known = true
			}
		}
		if !known {
			return nil
		}
		answers, err := l.admin.OffsetForLeaderEpoch(ctx, req)
		for partition, p := range read {
			if p.Epoch < 0 {
				continue
			}
			a, ok := answers[l.conf.Topic][partition]
			if !ok {
				err = errors.Join(err, fmt.Errorf("partition %d is missing in the answer", partition))
				continue
			}
			if a.Err != nil {
				err = errors.Join(err, a.Err)
				continue
			}
			if a.EndOffset < 0 {
				what := fmt.Sprintf("partition %d was read up to offset %d in leader epoch %d, which its leader does not know", partition, p.Next-1,
					p.Epoch)
				if time.Since(began) >= epochUnknownFor {
					return l.lost(what)
				}
				err = errors.Join(err, errors.New(what))
				continue
			}
			if a.EndOffset < p.Next {
				return l.lost(fmt.Sprintf("partition %d was read up to offset %d, and now diverges at %d: a leader was elected that did not have all",
					partition, p.Next-1, a.EndOffset))
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			return nil
		}
		l.fault(fmt.Sprintf("the leader epochs of topic %q cannot be compared", l.conf.Topic), err)
		pause(ctx, retryPause)
	}
}
