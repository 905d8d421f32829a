//go:build synctests

package kafka

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The first commit of a client is looked up, though its end was answered well:
// here the broker says so and has not ended it.
func TestCommitThatIsNoneThoughItsEndIsAnswered(t *testing.T) {
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
