package ledger

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A question that comes while a damaged store is being replaced waits: that the
// store is away for a moment does not mean that the ledger is closed.
func TestQuestionWhileTheStoreIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		l.availability.restored() // it is past the gate, and finds the store gone
		go func() {
			time.Sleep(time.Second)
			l.availability.restore("damage")
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Lookup(ctx, "e1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
