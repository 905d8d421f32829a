//go:build synctests

package kafka

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/txnrecovery"
)

// TestFirstCommitIsChecked: the broker confirms the end of a client's first transaction
// and has not ended it.
func TestFirstCommitIsChecked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		m, c := w.member(), w.committer()
		ends := 0
		w.broker.Fake.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.broker.Fake.KeepControl()
			if ends++; ends > 1 {
				return nil, nil, false
			}
			resp, ok := req.ResponseKind().(*kmsg.EndTxnResponse)
			if !ok {
				t.Errorf("no response to an end of a transaction is a %T", req.ResponseKind())
			}
			end, ok := req.(*kmsg.EndTxnRequest)
			if !ok {
				t.Errorf("a %T is no end of a transaction", req)
			}
			resp.ProducerID, resp.ProducerEpoch = end.ProducerID, end.ProducerEpoch
			return resp, nil, true
		})
		if err := c.Commit(t.Context(), batch(m, "one", 1)); !errors.Is(err, ErrNotCommitted) {
			t.Fatalf("got %v, want %v", err, ErrNotCommitted)
		}
		if at, _ := w.committed(0); at == 1 || len(w.outcomes()) != 0 {
			t.Errorf("offset %d is committed, outcomes %v", at, w.outcomes())
		}
		for at := range int64(3) {
			if err := c.Commit(t.Context(), batch(m, "again", at+1)); err != nil {
				t.Fatal(err)
			}
		}
		if at, _ := w.committed(0); at != 3 || len(w.outcomes()) != 3 {
			t.Errorf("offset %d is committed, outcomes %v", at, w.outcomes())
		}
	})
}

// TestCommitThroughAnOutage cuts all connections when the records were
// written and not acknowledged: the commit ends although the broker stays away, and one
// with fresh records works when the broker is back.
func TestCommitThroughAnOutage(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]int16{"Produce": kmsg.Produce.Int16(), "TxnOffsetCommit": kmsg.TxnOffsetCommit.Int16()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member := w.member()
				c := w.committer()
				w.wire.at(func(key int16) interruption {
					if key == at {
						w.wire.setDown(true)
						return cutAfter
					}
					return pass
				})
				began := time.Now()
				err := c.Commit(t.Context(), batch(member, "one", 7))
				if !errors.Is(err, ErrNotCommitted) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(began); took > 4*txnrecovery.TransactionTimeout {
					t.Errorf("the commit took %s", took)
				}
				w.wire.at(func(int16) interruption { return pass })
				w.wire.setDown(false)
				if err := c.Commit(t.Context(), batch(member, "two", 8)); err != nil {
					t.Fatal(err)
				}
				if got := w.outcomes(); len(got) != 1 || got[0] != "two" {
					t.Errorf("outcomes %v, want only the second", got)
				}
			})
		})
	}
}
