package verify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// pollRecords bounds what is in work at once; what is fetched besides is
	// bounded by the bytes below.
	pollRecords       = 10_000
	fetchBytes        = 4 << 20
	fetchPartition    = 512 << 10
	fetchWait         = 250 * time.Millisecond
	quiet             = 2 * time.Second // without a record, after which it is asked why
	transactionLimit  = 16 * time.Minute
	progressEvery     = 100 * time.Millisecond
	chunk             = 1_000 // records that one goroutine takes
	offsetsThatAreOut = "while it was read: run it again, or set the topic's retention higher"
)

// reading is the reading of all topics under way.
type reading struct {
	*verifier
	client *kgo.Client
	byName map[string]*topic
	next   map[*partition]int64 // what is read of a partition, for those that are not at their end
	total  int64
	done   int64
	shown  time.Time
	heard  time.Time // when the last record came
	waited time.Time // since when nothing came
}

// read reads every topic from its beginning to the end that the snapshot has.
func (v *verifier) read(ctx context.Context) error {
	rd := &reading{verifier: v, byName: make(map[string]*topic), next: make(map[*partition]int64), total: v.snap.records()}
	from := make(map[string]map[int32]kgo.Offset)
	for _, t := range v.snap.topics {
		rd.byName[t.name] = t
		from[t.name] = make(map[int32]kgo.Offset)
		for n := range t.partitions {
			if p := &t.partitions[n]; p.start < p.end {
				rd.next[p] = p.start
				from[t.name][int32(n)] = kgo.NewOffset().At(p.start)
			}
		}
	}
	if len(rd.next) == 0 {
		return nil
	}
	var err error
	rd.client, err = v.conf.Kafka.NewClient(
		kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		// Records that went away while it ran are an error, never a jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(fetchWait), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartition), kgo.MaxConcurrentFetches(2), kgo.BrokerMaxReadBytes(64<<20),
	)
	if err != nil {
		return err
	}
	defer rd.client.Close()
	rd.heard = time.Now()
	for len(rd.next) > 0 {
		if err := rd.poll(ctx); err != nil {
			return err
		}
	}
	v.conf.Progress(StageRead, rd.total, rd.total)
	return nil
}

func (rd *reading) poll(ctx context.Context) error {
	pollCtx, cancel := context.WithTimeout(ctx, quiet)
	fetches := rd.client.PollRecords(pollCtx, pollRecords)
	cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failed error
	fetches.EachError(func(name string, n int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			failed = errors.Join(failed, readError(name, n, err))
		}
	})
	if failed != nil {
		return failed
	}
	if fetches.NumRecords() == 0 {
		return rd.findEnds(ctx)
	}
	rd.heard = time.Now()
	return rd.takeAll(fetches)
}

func readError(name string, n int32, err error) error {
	_, lost := errors.AsType[*kgo.ErrDataLoss](err)
	if lost || errors.Is(err, kerr.OffsetOutOfRange) {
		return fmt.Errorf("records of %s/%d were deleted "+offsetsThatAreOut+": %w", name, n, err)
	}
	return fmt.Errorf("read %s/%d: %w", name, n, err)
}

// takeAll takes the records, in many goroutines, and returns when all are
// taken: what is under way is bounded by one poll.
func (rd *reading) takeAll(fetches kgo.Fetches) error {
	var wg sync.WaitGroup
	room := make(chan struct{}, runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var failed error
	fetches.EachPartition(func(ft kgo.FetchTopicPartition) {
		t := rd.byName[ft.Topic]
		if t == nil || len(ft.Records) == 0 {
			return
		}
		records := rd.advance(t, ft)
		for len(records) > 0 {
			part := records[:min(chunk, len(records))]
			records = records[len(part):]
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				b := rd.store.newBatch()
				for _, r := range part {
					rd.take(b, t, r)
				}
				if err := b.commit(); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			})
		}
	})
	wg.Wait()
	if now := time.Now(); now.Sub(rd.shown) > progressEvery {
		rd.shown = now
		rd.conf.Progress(StageRead, min(rd.done, rd.total), rd.total)
	}
	return failed
}

// advance moves a partition on, and gives the records that are within what is
// to be read and are no markers.
func (rd *reading) advance(t *topic, ft kgo.FetchTopicPartition) []*kgo.Record {
	p := &t.partitions[ft.Partition]
	at, open := rd.next[p]
	if !open {
		return nil
	}
	if p.first == 0 {
		p.first = max(1, ft.Records[0].Timestamp.UnixMilli())
	}
	kept := ft.Records[:0]
	for _, r := range ft.Records {
		if r.Offset < p.end && !r.Attrs.IsControl() {
			kept = append(kept, r)
		}
	}
	to := ft.Records[len(ft.Records)-1].Offset + 1
	rd.done += min(to, p.end) - at
	if to < p.end {
		rd.next[p] = to
		return kept
	}
	rd.end(t, ft.Partition)
	return kept
}

func (rd *reading) end(t *topic, n int32) {
	delete(rd.next, &t.partitions[n])
	rd.client.PauseFetchPartitions(map[string][]int32{t.name: {n}})
}

// findEnds asks why nothing comes. The last records below an end may be gone,
// compacted away; or a transaction is open, and they will come.
func (rd *reading) findEnds(ctx context.Context) error {
	waiting := ""
	for _, t := range rd.snap.topics {
		for n := range t.partitions {
			at, open := rd.next[&t.partitions[n]]
			if !open {
				continue
			}
			number := int32(n)
			empty, err := nothingBetween(ctx, rd.client, t, number, at, t.partitions[n].end)
			switch {
			case err != nil:
				rd.conf.Log.WarnContext(ctx, "a partition's end cannot be looked at; it is tried again", slog.String("topic", t.name),
					slog.Int64("partition", int64(n)), slog.Any("error", err))
			case empty:
				rd.done += t.partitions[n].end - at
				rd.end(t, number)
			default:
				waiting = fmt.Sprintf("%s/%d", t.name, n)
			}
		}
	}
	since := time.Since(rd.heard)
	if waiting == "" || since < transactionLimit {
		if waiting != "" && since > 10*quiet && time.Since(rd.waited) > 10*quiet {
			rd.waited = time.Now()
			rd.conf.Log.WarnContext(ctx, "nothing comes: a transaction that is open holds the records back", slog.String("partition", waiting))
		}
		return nil
	}
	return fmt.Errorf("nothing came of %s for %s: a transaction that was left open holds its records back "+
		"(kafka-transactions.sh find-hanging finds it)", waiting, since.Round(time.Second))
}
