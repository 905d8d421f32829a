//go:build synctests || integration

package acceptance

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
)

// committed returns the committed offsets of the input topic.
func (w *world) committed() []kadm.Offset {
	w.t.Helper()
	committed, err := kafka.CommittedOffsets(w.t.Context(), w.admin, w.group, w.topics.input)
	if err != nil {
		w.t.Fatal(err)
	}
	return committed
}

// commit sets offsets of the group as another program does. The group must be empty.
func (w *world) commit(offsets ...kadm.Offset) {
	w.t.Helper()
	all := make(kadm.Offsets)
	for _, o := range offsets {
		o.Topic = w.topics.input
		all.Add(o)
	}
	w.eventually("the offsets can be set", func() bool {
		resp, err := w.admin.CommitOffsets(w.t.Context(), w.group, all)
		return err == nil && resp.Error() == nil
	})
}

// commitEnds commits the ends of the input as an operator or another program does, and
// returns the setting that accepts them.
func (w *world) commitEnds() (accept func(*config.Config)) {
	w.t.Helper()
	var offsets []kadm.Offset
	var pairs []string
	for partition, end := range w.ends() {
		offsets = append(offsets, kadm.Offset{Partition: partition, At: end, LeaderEpoch: -1})
		pairs = append(pairs, fmt.Sprintf("%d:%d", partition, end))
	}
	w.commit(offsets...)
	return func(c *config.Config) { c.KafkaAcceptOffsets = strings.Join(pairs, ",") }
}

func (w *world) ends() map[int32]int64 {
	w.t.Helper()
	ends := make(map[int32]int64)
	w.eventually("the ends of the input are known", func() bool {
		listed, err := w.admin.ListEndOffsets(w.t.Context(), w.topics.input)
		if err != nil || listed.Error() != nil {
			return false
		}
		listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
		return true
	})
	return ends
}

// rewriteMetadata returns the committed offsets with their decoded metadata changed.
func (w *world) rewriteMetadata(change func(o *kadm.Offset, raw []byte)) []kadm.Offset {
	w.t.Helper()
	offsets := w.committed()
	for i := range offsets {
		raw, err := base64.RawStdEncoding.DecodeString(offsets[i].Metadata)
		if err != nil || len(raw) < 41 {
			w.t.Fatalf("metadata %q: %v", offsets[i].Metadata, err)
		}
		change(&offsets[i], raw)
		offsets[i].Metadata = base64.RawStdEncoding.EncodeToString(raw)
	}
	return offsets
}

// readyzSays waits until the instance is not ready and the body has all these words.
func (in *instance) readyzSays(words ...string) {
	in.w.t.Helper()
	var body string
	defer func() {
		if in.w.t.Failed() {
			in.w.t.Logf("/readyz said: %s", body)
		}
	}()
	in.w.eventually("/readyz reports why the instance is not ready", func() bool {
		var ready bool
		ready, body = in.readyz()
		return !ready && containsAll(body, words...)
	})
}

// metrics returns the metrics page of the instance.
func (in *instance) metrics() string {
	_, body := in.ask(http.MethodGet, "/metrics")
	return body
}

func beginAt(t time.Time) func(*config.Config) {
	return func(c *config.Config) { c.KafkaStartAt = t.Format(time.RFC3339Nano) }
}

// expiredOffsets deletes the group's offsets while the service is stopped, as
// offsets.retention.minutes does. KAFKA_START_AT=latest, or a time, would skip the events
// that were published since.
func expiredOffsets(w *world) {
	latest := func(c *config.Config) { c.KafkaStartAt = "latest" }
	first := w.start("a", latest)
	w.eventually("the partitions are assigned", func() bool { return first.service.Partitions(w.t.Context()) == 2 })
	w.send(numbered(3, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 3})
	first.stop()
	w.eventually("the group is deleted", func() bool {
		resp, err := w.admin.DeleteGroups(w.t.Context(), w.group)
		return err == nil && resp.Error() == nil
	})
	w.send(numbered(3, func(_ int, o *order) { o.id, o.order = "new-"+o.id, "new-"+o.order })...)
	err := w.start("a", latest).wait()
	if !errors.Is(err, kafka.ErrUnsafeStart) || !containsAll(err.Error(), w.group, w.topics.input, "KAFKA_START_AT", "earliest",
		"RFC 3339", "offsets.retention.minutes") {
		w.t.Fatalf("the service ended with: %v", err)
	}
	if n := len(w.committed()); n != 0 {
		w.t.Fatalf("a refused start committed %d offsets", n)
	}
	err = w.start("a", beginAt(time.Now().Add(time.Hour))).wait()
	if !errors.Is(err, kafka.ErrFutureStart) || !containsAll(err.Error(), w.group, w.topics.input, "KAFKA_START_AT", "earliest") {
		w.t.Fatalf("the service ended with: %v", err)
	}
	<-time.After(time.Second)
	third := w.start("a", beginAt(time.Now()))
	third.readyzSays("KAFKA_ACCEPT_OFFSETS", "skips", "KAFKA_START_AT")
	third.stop()
	w.eventually("the group is deleted", func() bool {
		resp, err := w.admin.DeleteGroups(w.t.Context(), w.group)
		return err == nil && resp.Error() == nil
	})
	w.start("a")
	w.sent = append(w.sent, w.sent[:3]...) // these are replayed from the ledger
	w.want(w.awaitDecisions(), map[string]int{"captured": 9})
	w.wantOneCallPerEvent()
}

// skippedByOthers has another program commit offsets past undecided events and past
// records that need no decision.
func (w *world) skippedByOthers() {
	w.t.Helper()
	w.choosePartitions()
	first := w.start("a")
	w.send(order{id: "e1", partition: 1}, order{id: "invalid", amount: "-1", partition: 1}, order{id: "f1", partition: 2})
	w.want(w.awaitDecisions(), map[string]int{"captured": 2, "parked invalid_event": 1})
	first.stop()
	w.send(order{id: "other-type", kind: "order.shipped", skipped: true, partition: 1},
		order{id: "other-account", account: "another", skipped: true, partition: 1})
	for i := range 5 {
		w.send(order{id: fmt.Sprintf("lost%d", i), order: fmt.Sprintf("lost%d", i), skipped: true, partition: 1})
	}
	w.commitEnds()
	second := w.start("a")
	w.eventually("the partition is held and the skipped records are named", func() bool {
		held := second.service.HaltedPartitions(w.t.Context())
		return len(held) == 1 && containsAll(held[0], "committed offset 9", "skips 5 records", "first at offset 4", "last at 8",
			"KAFKA_ACCEPT_OFFSETS=0:9")
	})
	second.readyzSays("KAFKA_ACCEPT_OFFSETS=0:9")
	if metrics := second.metrics(); !strings.Contains(metrics, `payment_capture_partitions_halted{reason="unconfirmed_offset"} 1`) {
		w.t.Errorf("no metric names the partition:\n%s", metrics)
	}
	if !w.log.contains(`"msg":"committed offset is not by this service","instance":"a","partition":0,"offset":9`) {
		w.t.Errorf("no warning names the partition and the offset; log:\n%s", w.log.tail())
	}
	w.send(order{id: "f2", order: "f2", partition: 2})
	w.eventually("the other partition continues", func() bool { return len(w.decisions()) == 4 })
	second.stop()
	for _, o := range w.committed() {
		if o.Partition == 0 && (o.At != 9 || o.Metadata != "") {
			w.t.Errorf("a held partition has committed %d with %q", o.At, o.Metadata)
		}
	}
}

// skippedAndReset resets the offset to the first skipped event, as an operator does.
func skippedAndReset(w *world) {
	w.skippedByOthers()
	w.commit(kadm.Offset{Partition: 0, At: 4, LeaderEpoch: -1})
	for i := range w.sent {
		w.sent[i].skipped = w.sent[i].skipped && !strings.HasPrefix(w.sent[i].id, "lost")
	}
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 8, "parked invalid_event": 1})
	w.wantOneCallPerEvent()
}

// skippedAndAccepted accepts the skipped events by configuration. The variable may stay
// set and has no further effect.
func skippedAndAccepted(w *world) {
	w.skippedByOthers()
	accept := func(c *config.Config) { c.KafkaAcceptOffsets = "0:9" }
	third := w.start("a", accept)
	w.send(order{id: "after", order: "after", partition: 1})
	w.want(w.awaitDecisions(), map[string]int{"captured": 4, "parked invalid_event": 1})
	if !w.log.contains(`"committed offset accepted by KAFKA_ACCEPT_OFFSETS","instance":"a","partition":0,"offset":9`) {
		w.t.Errorf("the accepted offsets are not logged; log:\n%s", w.log.tail())
	}
	third.stop()
	fourth := w.start("a")
	w.send(order{id: "later", order: "later", partition: 1})
	w.want(w.awaitDecisions(), map[string]int{"captured": 5, "parked invalid_event": 1})
	fourth.stop()
	w.send(order{id: "lost-again", order: "lost-again", skipped: true, partition: 1})
	w.commitEnds()
	fifth := w.start("a", accept)
	fifth.readyzSays("KAFKA_ACCEPT_OFFSETS=0:12", "skips 6 records") // the records accepted before are counted again
}

// checkTakesLong has the records below a foreign offset in an open transaction. The
// partition is halted while the service waits for them. Then it finds that they are
// undecided.
func checkTakesLong(w *world) {
	w.choosePartitions()
	first := w.start("a")
	w.send(order{id: "e1", partition: 1}, order{id: "f1", partition: 2})
	w.want(w.awaitDecisions(), map[string]int{"captured": 2})
	first.stop()
	producer := w.newClient(kgo.TransactionalID(w.name+".orders"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := producer.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := producer.ProduceSync(w.t.Context(), w.record(order{id: "late", partition: 1, skipped: true})).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	w.commitEnds()
	second := w.start("a")
	second.readyzSays("committed offsets are being checked", "committed offset 2", "read up to")
	w.send(order{id: "f2", order: "f2", partition: 2}, order{id: "behind", partition: 1, skipped: true})
	w.eventually("the other partition continues", func() bool { return len(w.decisions()) == 3 })
	if held := second.service.HaltedPartitions(w.t.Context()); len(held) > 0 {
		w.t.Errorf("halted: %v", held)
	}
	if err := producer.EndTransaction(w.t.Context(), kgo.TryCommit); err != nil {
		w.t.Fatal(err)
	}
	second.readyzSays("partitions are halted", "KAFKA_ACCEPT_OFFSETS=0:2", "skips 1 records", "first at offset 1")
	w.check(w.decisions())
}

// resetToTheMiddle is a usual replay: the records below the offset are decided, so the
// service continues by itself after one check of the offset.
func resetToTheMiddle(w *world) {
	w.choosePartitions()
	first := w.start("a")
	w.send(numbered(40, func(_ int, o *order) { o.partition = 1 })...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
	first.stop()
	w.commit(kadm.Offset{Partition: 0, At: 30, LeaderEpoch: -1})
	w.sent = append(w.sent, w.sent[30:40]...)
	second := w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 50})
	w.wantOneCallPerEvent()
	second.stop()
	w.start("a")
	w.send(order{id: "after", order: "after", partition: 1})
	w.want(w.awaitDecisions(), map[string]int{"captured": 51})
	if n := strings.Count(w.log.String(), "committed offset is not by this service"); n != 1 {
		w.t.Errorf("the offset was checked %d times, want once", n)
	}
}

// movedBeforeAnyDecision has another program commit offsets past events in a group that
// has not decided anything yet.
func movedBeforeAnyDecision(w *world) {
	first := w.start("a")
	w.eventually("the partition is assigned", func() bool { return first.service.Partitions(w.t.Context()) == 1 })
	first.stop()
	w.send(numbered(5, nil)...)
	w.commitEnds()
	second := w.start("a")
	second.readyzSays("committed offset 5", "skips 5 records", "KAFKA_ACCEPT_OFFSETS=0:5")
	second.stop()
	w.commit(kadm.Offset{Partition: 0, At: 0, LeaderEpoch: -1})
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 5})
}

// movedWithMetadata has a tool move an offset and keep the metadata that it read.
func movedWithMetadata(w *world) {
	first := w.start("a")
	w.send(order{id: "first", order: "first"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	first.stop()
	w.send(numbered(5, nil)...)
	before, ends := w.committed(), w.ends()
	moved := slices.Clone(before)
	for i := range moved {
		moved[i].At = ends[moved[i].Partition]
	}
	w.commit(moved...)
	second := w.start("a")
	second.readyzSays("skips 5 records", "KAFKA_ACCEPT_OFFSETS=0:")
	second.stop()
	w.commit(before...)
	w.start("a")
	w.want(w.awaitDecisions(), map[string]int{"captured": 6})
}

// startedByAnOperator starts the service for the first time at offsets that an operator
// has committed and accepted. Later starts do not check them.
func startedByAnOperator(w *world) {
	w.choosePartitions()
	w.send(order{id: "before1", skipped: true, partition: 1}, order{id: "before2", skipped: true, partition: 2})
	accept := w.commitEnds()
	first := w.start("a", accept, func(c *config.Config) { c.KafkaStartAt = "" })
	w.send(order{id: "after", partition: 1})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	first.stop()
	w.start("a", func(c *config.Config) { c.KafkaStartAt = "" })
	w.send(order{id: "later1", order: "later1", partition: 1}, order{id: "later2", order: "later2", partition: 2})
	w.want(w.awaitDecisions(), map[string]int{"captured": 3})
}

// stranger is a consumer of another program in the service's group, which commits the
// records that it reads.
type stranger struct {
	client *kgo.Client
	read   atomic.Int64
	err    atomic.Pointer[string] // the last error
	ended  chan struct{}
}

func (w *world) stranger(opts ...kgo.Opt) *stranger {
	w.t.Helper()
	s := &stranger{ended: make(chan struct{})}
	s.client = w.newClient(append([]kgo.Opt{
		kgo.ConsumerGroup(w.group), kgo.ConsumeTopics(w.topics.input), kgo.SessionTimeout(6 * time.Second),
		kgo.AutoCommitInterval(100 * time.Millisecond),
	}, opts...)...)
	go func() {
		defer close(s.ended)
		for {
			fetches := s.client.PollFetches(w.t.Context())
			if fetches.IsClientClosed() || w.t.Context().Err() != nil {
				return
			}
			s.read.Add(int64(fetches.NumRecords()))
			for _, e := range fetches.Errors() {
				s.err.Store(new(e.Err.Error()))
			}
		}
	}()
	w.t.Cleanup(s.leave)
	return s
}

func (s *stranger) leave() {
	s.client.Close()
	<-s.ended
}

func (s *stranger) refused() bool {
	err := s.err.Load()
	return err != nil && strings.Contains(*err, kerr.InconsistentGroupProtocol.Message)
}

// strangerJoins has a consumer of another program join the group while the service runs.
// The coordinator refuses it.
func strangerJoins(w *world) {
	w.start("a")
	w.send(numbered(100, nil)...)
	w.eventually("some are captured", func() bool { return w.sim.Charges().Calls > 10 })
	s := w.stranger(kgo.Balancers(kgo.CooperativeStickyBalancer()))
	w.eventually("the coordinator refuses the other consumer", s.refused)
	w.send(numbered(100, func(i int, o *order) { o.id, o.order = fmt.Sprintf("f%d", i), fmt.Sprintf("p%d", i) })...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 200})
	if n := s.read.Load(); n != 0 {
		w.t.Errorf("the other consumer read %d records", n)
	}
}

// strangerIsFirst has a consumer of another program in the group before the service. The
// coordinator refuses the service, which reports why and joins when the other one has
// left. The partitions are held because of the offsets that it committed.
func strangerIsFirst(w *world) {
	first := w.start("a")
	w.send(numbered(10, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 10})
	first.stop()
	s := w.stranger(kgo.DisableAutoCommit())
	w.send(numbered(10, func(i int, o *order) { o.id, o.order = fmt.Sprintf("f%d", i), fmt.Sprintf("p%d", i) })...)
	w.eventually("the other consumer reads", func() bool { return s.read.Load() == 10 })
	second := w.start("a")
	second.readyzSays(w.group, "consumers of another program", "KAFKA_GROUP", "INCONSISTENT_GROUP_PROTOCOL")
	if !w.log.contains("consumers of another program") {
		w.t.Error("the log does not report why the service cannot join the group")
	}
	s.leave()
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	w.wantOneCallPerEvent()
}

// zeroTopicIDs has offsets that were committed when the brokers had no topic ids. They
// do not count as those of another topic or ledger.
func zeroTopicIDs(w *world) {
	first := w.start("a")
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	first.stop()
	w.commit(w.rewriteMetadata(func(_ *kadm.Offset, raw []byte) { clear(raw[1:33]) })...)
	w.start("a")
	w.send(numbered(20, func(i int, o *order) { o.id, o.order = fmt.Sprintf("f%d", i), fmt.Sprintf("p%d", i) })...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
	w.wantOneCallPerEvent()
}

// otherTopicID has offsets of a deleted topic with the same name. The present topic is
// read from its beginning.
func otherTopicID(w *world) {
	w.choosePartitions()
	first := w.start("a")
	w.send(numbered(20, func(i int, o *order) { o.partition = int32(i%2) + 1 })...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	first.stop()
	// In the old topic these would have been below the offset.
	for i := range 6 {
		w.send(order{id: fmt.Sprintf("f%d", i), order: fmt.Sprintf("p%d", i), partition: int32(i%2) + 1})
	}
	ends := w.ends()
	w.commit(w.rewriteMetadata(func(o *kadm.Offset, raw []byte) {
		raw[1] ^= 0xff
		o.At = ends[o.Partition]
		binary.BigEndian.PutUint64(raw[33:], uint64(o.At))
	})...)
	w.sent = append(w.sent, w.sent[:20]...)
	w.start("a")
	w.eventually("the whole topic is decided", func() bool { return len(w.decisions()) == 46 })
	w.want(w.awaitDecisions(), map[string]int{"captured": 46})
	w.wantOneCallPerEvent()
}
