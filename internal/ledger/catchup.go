package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
	"payment-capture/internal/kafka/txnrecovery"
	"payment-capture/internal/ledger/store"
)

// CatchUp returns when the store holds all that was in the topic when it was
// called, up to the high watermark of every partition. Only ctx ends it early,
// and then its error is ctx's. Health reports the reason of a long wait.
func (l *Ledger) CatchUp(ctx context.Context) error {
	if l.stop == nil {
		return errClosed
	}
	for {
		if err := l.availability.await(ctx); err != nil {
			return err
		}
		ends, err := l.ends(ctx)
		if err != nil {
			return err
		}
		if err := l.reach(ctx, ends); err != nil {
			return err
		}
		// The store may have been lost meanwhile, or the topic.
		if l.availability.open.Load() {
			return nil
		}
	}
}

// ends returns the high watermarks of all partitions. It repeats until it succeeds.
func (l *Ledger) ends(ctx context.Context) (map[int32]int64, error) {
	for {
		ends, err := l.listEnds(ctx)
		if err == nil {
			return ends, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.fault(fmt.Sprintf("the end of topic %q cannot be asked for", l.conf.Topic), err)
		pause(ctx, retryPause)
	}
}

func (l *Ledger) listEnds(ctx context.Context) (map[int32]int64, error) {
	if err := kafka.CheckTopic(ctx, l.client, l.conf.Topic, l.topicID); err != nil {
		return nil, err
	}
	listed, err := l.admin.ListEndOffsets(ctx, l.conf.Topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	ends := make(map[int32]int64)
	for _, o := range listed[l.conf.Topic] {
		ends[o.Partition] = o.Offset
	}
	if n := len(ends); n > 0 && n != int(l.partitions) {
		l.halt(causePartitions, fmt.Sprintf("topic %q has %d partitions, and had %d at the start: instances that count differently do not see each "+
			"other's attempts: stop all instances, then start them", l.conf.Topic, n, l.partitions))
		return nil, errors.New("the number of partitions changed")
	}
	for partition, at := range l.watermarks.at() {
		// A leader that is new may not know the end yet. If the records are
		// lost, reading finds out.
		if end, ok := ends[partition]; !ok || at > end {
			return nil, fmt.Errorf("partition %d was read up to offset %d, and ends at %d", partition, at, end)
		}
	}
	l.watermarks.saw(ends)
	return ends, nil
}

// bounds returns the start and end offsets of a partition.
func (l *Ledger) bounds(ctx context.Context, partition int32) (start, end int64, err error) {
	starts, err := l.admin.ListStartOffsets(ctx, l.conf.Topic)
	if err != nil {
		return 0, 0, err
	}
	ends, err := l.admin.ListEndOffsets(ctx, l.conf.Topic)
	if err != nil {
		return 0, 0, err
	}
	s, okStart := starts.Lookup(l.conf.Topic, partition)
	e, okEnd := ends.Lookup(l.conf.Topic, partition)
	if !okStart || !okEnd {
		return 0, 0, errors.New("the partition is not listed")
	}
	return s.Offset, e.Offset, errors.Join(s.Err, e.Err)
}

// stalled is how long a partition that has more to read may deliver nothing
// before reach requests the reason.
const stalled = time.Second

// reach waits until all is read up to these ends. The error is ctx's.
func (l *Ledger) reach(ctx context.Context, ends map[int32]int64) error {
	var before map[int32]int64
	open := make(map[int32]time.Time) // from when on a partition was kept by a transaction
	for {
		waiting, cancel := context.WithTimeout(ctx, stalled)
		err := l.watermarks.wait(waiting, ends)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		short, _ := l.watermarks.short(ends)
		for partition, at := range short {
			last, ok := before[partition]
			if !ok || last != at || !l.stepOver(ctx, partition, at, ends[partition]) {
				delete(open, partition)
				continue
			}
			if open[partition].IsZero() {
				open[partition] = time.Now()
			}
			if openFor := time.Since(open[partition]); openFor >= txnrecovery.HangingAfter {
				l.endHanging(ctx, partition, at, openFor)
			}
		}
		before = short
	}
}

// stepOver records that there is nothing left to read below an end, if the broker
// confirms it, because the last records were compacted away. It reports whether a
// transaction is open at the next offset to read.
func (l *Ledger) stepOver(ctx context.Context, partition int32, at, end int64) (isOpen bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	next, isOpen, err := l.nothingFrom(ctx, partition, at)
	if err != nil {
		l.fault(fmt.Sprintf("partition %d of topic %q does not say what is left to read", partition, l.conf.Topic), err)
		return false
	}
	if next > at {
		l.log.DebugContext(ctx, "the ledger has no records here any more",
			slog.Int64("partition", int64(partition)), slog.Int64("from", at), slog.Int64("to", min(next, end)-1))
		l.watermarks.advance(map[int32]store.Position{partition: {From: min(next, end)}}, 0)
	}
	return isOpen
}

// nothingFrom fetches by hand, and returns the offset below which there is nothing
// from an offset on. It returns the same offset if there is a record, or if a
// transaction is still open.
func (l *Ledger) nothingFrom(ctx context.Context, partition int32, at int64) (next int64, isOpen bool, err error) {
	leader, err := l.leader(ctx, partition)
	if err != nil {
		return 0, false, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 0, 1<<20, 1, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = l.conf.Topic, l.topicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := l.client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return 0, false, err
	}
	answer := resp.(*kmsg.FetchResponse) //nolint:forcetypeassert // the request's own kind
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return 0, false, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return 0, false, errors.New("the broker answered for another partition")
	}
	got := &answer.Topics[0].Partitions[0]
	if len(got.RecordBatches) == 0 && got.ErrorCode == 0 {
		// Below this there are no records, and no transaction that is open.
		next := max(at, min(got.LastStableOffset, got.HighWatermark))
		return next, next == at && got.LastStableOffset < got.HighWatermark, nil
	}
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: true, Offset: at, IsolationLevel: kgo.ReadCommitted(), Topic: l.conf.Topic, Partition: partition,
	}, got, kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil {
		return 0, false, fetched.Err
	}
	if len(fetched.Records) > 0 {
		return fetched.Records[0].Offset, false, nil // it is about to be read
	}
	return next, false, nil
}

// endHanging completes a hanging transaction. Health reports the reason until then.
func (l *Ledger) endHanging(ctx context.Context, partition int32, at int64, openFor time.Duration) {
	l.openSeen.Store(time.Now().Unix())
	if !l.ending.TryLock() {
		return // who waits for the same, or another partition, is at it
	}
	defer l.ending.Unlock()
	what := fmt.Sprintf("partition %d of topic %q cannot be read past offset %d: a transaction is open there", partition, l.conf.Topic, at)
	open, err := txnrecovery.OpenTransactions(ctx, l.admin, l.conf.Topic, partition, at)
	if err != nil {
		l.fault(what, err)
		return
	}
	for _, t := range open {
		what := fmt.Sprintf("%s, of producer id %d, from offset %d, last written to at %s", what, t.ProducerID, t.Start,
			t.Last.UTC().Format(time.RFC3339))
		if l.conf.EndHanging == nil {
			l.fault(what, errors.New("it is ended by the broker, or by the instance that wrote it when that is started again"))
		} else if err := l.conf.EndHanging(ctx, t.ProducerID, openFor); err != nil {
			l.fault(what, err)
		}
	}
}

func (l *Ledger) leader(ctx context.Context, partition int32) (int32, error) {
	topics, err := l.admin.ListTopics(ctx, l.conf.Topic)
	if err != nil {
		return 0, err
	}
	p, ok := topics[l.conf.Topic].Partitions[partition]
	if !ok || p.Err != nil {
		return 0, fmt.Errorf("partition %d has no leader now", partition)
	}
	return p.Leader, nil
}
