package pipeline

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// polledPartition is what one poll gave of a partition.
type polledPartition struct {
	number     int32
	err        error
	unreadable bool // err is about the records themselves
	records    []polledRecord
}

type polledRecord struct {
	record  *kgo.Record
	event   *event.ReadyToCapture
	skip    bool             // a marker, or not meant for this service
	skipped *event.SkipError // why it is not meant for this service; nil for a marker
	invalid *event.InvalidError
	id      string         // of the event, or what stands in for it where it is invalid
	resend  *event.Resend  // where a person sent it again
	glimpse event.Snapshot // what was known of it then
	answer  *settlement    // what follows from that, where it needs no call
	// unfit is why the record would be parked without a call, and good whether it
	// may be called for; a record that is neither says nothing: see weigh.
	unfit *event.ParkInfo
	good  bool
}

// noPartition stands for an error that concerns no partition.
const noPartition = -1

// poll reads records and hands them to the owner. A rebalance waits for that, which
// takes milliseconds: it must not come between a poll and the taking over of what
// was polled, and must not wait for anything else.
func (p *Pipeline) poll(ctx context.Context) {
	var pause time.Duration
	for {
		fetches := p.consumer.PollRecords(ctx, pollLimit)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			p.consumer.AllowRebalance()
			return
		}
		batch := p.read(fetches)
		p.noteSkipped(ctx, batch)
		taken := make(chan struct{})
		ok := p.send(polled{batch: batch, taken: taken})
		if ok {
			select {
			case <-taken:
			case <-p.ended:
				ok = false
			}
		}
		p.consumer.AllowRebalance()
		if !ok {
			return
		}
		// What is refused is refused again at once: the library does not pause.
		if pause = nextPause(pause, fetches); pause > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

const (
	firstPollPause = 100 * time.Millisecond
	maxPollPause   = 5 * time.Second
)

// nextPause gives the wait after a poll that gave nothing but errors.
func nextPause(last time.Duration, fetches kgo.Fetches) time.Duration {
	if fetches.NumRecords() > 0 || len(fetches.Errors()) == 0 {
		return 0
	}
	return min(max(2*last, firstPollPause), maxPollPause)
}

// read turns fetched records into events, outside the owner's goroutine, and looks
// them up in the ledger.
func (p *Pipeline) read(fetches kgo.Fetches) []polledPartition {
	var batch []polledPartition
	var all []*polledRecord
	fetches.EachPartition(func(ft kgo.FetchTopicPartition) {
		if ft.Topic != "" && ft.Topic != p.conf.Topics.Input {
			return
		}
		if ft.Topic == "" { // of the session, not of a partition
			ft.Partition = noPartition
		}
		part := polledPartition{number: ft.Partition, err: ft.Err, unreadable: unreadable(ft), records: make([]polledRecord, 0, len(ft.Records))}
		for _, r := range ft.Records {
			part.records = append(part.records, polledRecord{record: r})
		}
		for i := range part.records {
			all = append(all, &part.records[i])
		}
		batch = append(batch, part)
	})
	var reading sync.WaitGroup
	for some := range slices.Chunk(all, max(readAtLeast, (len(all)-1)/(readShares*runtime.GOMAXPROCS(0))+1)) {
		reading.Go(func() {
			for _, r := range some {
				*r = p.decodeRecord(detached(r.record))
			}
			some = slices.DeleteFunc(some, func(r *polledRecord) bool { return r.skip })
			p.foresee(some)
			now := time.Now()
			for _, r := range some {
				p.weigh(r, now)
			}
		})
	}
	reading.Wait()
	return batch
}

// noteSkipped counts and shows what a poll skips.
func (p *Pipeline) noteSkipped(ctx context.Context, batch []polledPartition) {
	for _, part := range batch {
		for i := range part.records {
			if skipped := part.records[i].skipped; skipped != nil {
				p.conf.Metrics.skipped(skipped.Reason)
			}
		}
	}
	p.skipped.note(ctx, batch, time.Now())
}

// readAtLeast is how many records are worth a goroutine; and each core has several
// shares to read, so that none waits long for another that was busy elsewhere.
const (
	readAtLeast = 64
	readShares  = 4
)

func (p *Pipeline) decodeRecord(r *kgo.Record) polledRecord {
	if r.Attrs.IsControl() {
		return polledRecord{record: r, skip: true}
	}
	m := messageOf(r)
	e, err := p.conf.Decoder.Decode(m)
	if err == nil {
		if e.Account != "" && e.Account != p.conf.Account {
			return polledRecord{record: r, skip: true, skipped: &event.SkipError{Reason: event.SkipOtherAccount, Type: e.Account}}
		}
		return polledRecord{record: r, event: e, id: e.ID, resend: event.ResendOf(m)}
	}
	if invalid, ok := errors.AsType[*event.InvalidError](err); ok {
		return polledRecord{record: r, invalid: invalid, id: event.RecordID(m), resend: event.ResendOf(m)}
	}
	if skipped, ok := errors.AsType[*event.SkipError](err); ok {
		return polledRecord{record: r, skip: true, skipped: skipped}
	}
	return polledRecord{record: r, invalid: &event.InvalidError{Problem: err.Error()}, id: event.RecordID(m), resend: event.ResendOf(m)}
}

// detached copies a record. What the client gives is a part of the whole answer to
// a fetch, which would stay in memory until the last of its records is settled.
func detached(r *kgo.Record) *kgo.Record {
	c := *r
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Value)
	}
	room := make([]byte, 0, size)
	hold := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		room = append(room, b...)
		return room[len(room)-len(b) : len(room) : len(room)]
	}
	c.Key, c.Value = hold(r.Key), hold(r.Value)
	c.Headers = make([]kgo.RecordHeader, len(r.Headers))
	for i, h := range r.Headers {
		c.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: hold(h.Value)}
	}
	return &c
}

func messageOf(r *kgo.Record) event.Message {
	m := event.Message{Key: r.Key, Value: r.Value, Headers: make([]event.Header, 0, len(r.Headers))}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, event.Header{Key: h.Key, Value: h.Value})
	}
	if r.Timestamp.UnixMilli() >= 0 {
		m.Timestamp = r.Timestamp
	}
	return m
}

// lossOf reports whether a fetch error means that records were lost to us:
// retention overtook the committed offset, or the log was truncated.
func lossOf(err error) bool {
	_, truncated := errors.AsType[*kgo.ErrDataLoss](err)
	return truncated || errors.Is(err, kerr.OffsetOutOfRange)
}

// unreadable reports whether a broker sent records that the client cannot read,
// such as a batch with a wrong checksum. Going on after it may skip them. The
// client reports the failures of its connections for a partition as well, but
// then without the high watermark that comes with records.
func unreadable(ft kgo.FetchTopicPartition) bool {
	_, broker := errors.AsType[*kerr.Error](ft.Err)
	return ft.Err != nil && !broker && ft.HighWatermark > 0
}
