package ledger

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// Records returns the records that a decision adds to its flush: the decision, and a
// tombstone for its attempt if there is one. input is the event's partition.
func (l *Ledger) Records(input int32, id string, d *event.Decision) ([]*kgo.Record, error) {
	value, err := EncodeDecision(d)
	if err != nil {
		return nil, err
	}
	at := l.Partition(input)
	records := []*kgo.Record{{Topic: l.conf.Topic, Partition: at, Key: KindDecision.Key(id), Value: value}}
	if !d.Attempt.First.IsZero() {
		records = append(records, &kgo.Record{Topic: l.conf.Topic, Partition: at, Key: KindAttempt.Key(id)})
	}
	return records, nil
}

// Following reports whether the store holds what it must.
func (h Health) Following() bool { return h.State == stateFollowing }
