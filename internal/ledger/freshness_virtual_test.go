//go:build synctests

package ledger

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refuseReading lets the brokers refuse every fetch of the ledger, until the
// function is called: a permission that was taken away.
func (w *world) refuseReading() (allow func()) {
	var readable atomic.Bool
	w.broker.Fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if readable.Load() {
			return nil, nil, false
		}
		w.broker.Fake.KeepControl()
		<-time.After(time.Second)
		asked := req.(*kmsg.FetchRequest)
		resp := asked.ResponseKind().(*kmsg.FetchResponse)
		for _, t := range asked.Topics {
			answer := kmsg.NewFetchResponseTopic()
			answer.Topic, answer.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				refusal := kmsg.NewFetchResponseTopicPartition()
				refusal.Partition, refusal.ErrorCode = p.Partition, kerr.TopicAuthorizationFailed.Code
				answer.Partitions = append(answer.Partitions, refusal)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
	return func() { readable.Store(true) }
}

// A ledger that has not read for long what others write does not answer "never
// attempted" of what another instance captured meanwhile.
func TestStaleLedgerDoesNotAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.events(3)
		l := w.started("a")
		allow := w.refuseReading()
		<-time.After(time.Minute)
		// Another instance captures an event of another partition.
		w.transaction(kgo.TryCommit, w.decision(1, "elsewhere", decisionsForTest(t)["captured"]))
		<-time.After(time.Hour)
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		defer cancel()
		if h, err := l.Lookup(ctx, "elsewhere"); err == nil && h.Decision == nil && h.Attempt == nil {
			w.t.Errorf("an hour after it was captured it is said never to have been attempted; health %+v", l.Health())
		}
		allow()
		<-time.After(time.Minute)
		w.knows(l, "elsewhere", known{decided: "captured"})
	})
}
