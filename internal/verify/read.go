package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
)

const (
	progressEvery = 100 * time.Millisecond
	batchRecords  = 1_000 // records that one goroutine decodes and writes in one batch
)

// readTopics reads every topic from its start to the end that the snapshot has,
// and stores what its records say.
func (v *verifier) readTopics(ctx context.Context) error {
	reader, err := kafka.NewRangeReader(v.conf.Kafka, v.snap.ranges()...)
	if err != nil {
		return err
	}
	defer reader.Close()
	total, shown := reader.Left(), time.Time{}
	for {
		records, err := reader.Read(ctx)
		if errors.Is(err, io.EOF) {
			v.conf.Progress(phaseRead, total, total)
			return nil
		}
		if deleted, ok := errors.AsType[*kafka.DeletedError](err); ok {
			return fmt.Errorf("%w while they were read; run verify again, or set the topic's retention higher", deleted)
		}
		if err != nil {
			return err
		}
		if err := v.storeAll(records); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(shown) > progressEvery {
			shown = now
			v.conf.Progress(phaseRead, total-reader.Left(), total)
		}
	}
}

// storeAll decodes and stores records in several goroutines, and returns when all
// are stored, so that the memory of one Read bounds what is in work.
func (v *verifier) storeAll(records []*kgo.Record) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var failed error // guarded by mu
	for len(records) > 0 {
		part := records[:min(batchRecords, len(records))]
		records = records[len(part):]
		for _, r := range part {
			if p := &v.snap.byName[r.Topic].partitions[r.Partition]; p.first == 0 {
				p.first = max(1, r.Timestamp.UnixMilli())
			}
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			b := v.newBatch()
			for _, r := range part {
				v.storeRecord(b, v.snap.byName[r.Topic], r)
			}
			if err := b.Commit(); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}
