//go:build synctests

package acceptance

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestVirtualCommits runs the commit scenarios that need a fake cluster.
func TestVirtualCommits(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		name string
		run  func(w *world)
	}{
		{"a spurious fencing error does not end the service", wronglyFenced},
		{"an open transaction whose producer may not be described", openTransactionNotDescribed},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			virtually(t, 2, s.run)
		})
	}
}

// wronglyFenced has the broker answer each step of a commit once with a fencing error,
// more than a minute apart, although no other process exists.
func wronglyFenced(w *world) {
	in := w.start("a")
	sent := 0
	for _, answer := range []*kerr.Error{kerr.InvalidProducerEpoch, kerr.ProducerFenced} {
		for _, step := range []kmsg.Key{kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
			once := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{step}, Err: answer, Count: 1, TopLevel: step != kmsg.TxnOffsetCommit})
			sent++
			w.send(order{id: answer.Message + step.Name()})
			w.want(w.awaitDecisions(), map[string]int{"captured": sent})
			if once.Hits() != 1 {
				w.t.Errorf("the answer %s to %s was given %d times", answer.Message, step.Name(), once.Hits())
			}
			<-time.After(2 * time.Minute)
		}
	}
	w.wantOneCallPerEvent()
	if ready, body := in.readyz(); !ready {
		w.t.Errorf("not ready: %s", body)
	}
}

// openTransactionNotDescribed has a principal that may read the input but not describe
// its producers.
func openTransactionNotDescribed(w *world) {
	in := w.start("a")
	w.choosePartitions()
	denied := w.broker.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.DescribeProducers}, Topic: w.topics.input,
		Err: kerr.TopicAuthorizationFailed, Count: -1,
	})
	other := w.newClient(kgo.TransactionalID("other"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := other.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := other.ProduceSync(w.t.Context(), w.record(order{id: "open", partition: 1})).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the status names the partition", func() bool { return len(in.status().Pipeline.Open) > 0 })
	open := in.status().Pipeline.Open[0]
	if open.Partition != 0 || open.ProducerID != 0 || !strings.Contains(open.Unknown, kerr.TopicAuthorizationFailed.Message) {
		w.t.Errorf("the status has %+v", open)
	}
	if denied.Hits() == 0 || denied.Hits() > 10 {
		w.t.Errorf("the service asked for the producers %d times", denied.Hits())
	}
	if err := other.EndTransaction(w.t.Context(), kgo.TryCommit); err != nil {
		w.t.Fatal(err)
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}
