//go:build synctests

package kafka

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCommitThroughAnOutage cuts the wire when the records were written and
// not answered, and never mends it: the commit ends all the same, and one with
// fresh records works when the broker is back.
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
				w.wire.at(func(key int16) verdict {
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
				if took := time.Since(began); took > 4*TransactionTimeout {
					t.Errorf("the commit took %s", took)
				}
				w.wire.at(func(int16) verdict { return pass })
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
