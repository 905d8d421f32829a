package pipeline

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// Two events of one reference wait for each other, also where it is the order id
// of one and was given to the other: what is captured for it, and what is found
// by it, is one event's at a time.
func TestLanesOfAReferenceThatIsAnOthersOrder(t *testing.T) {
	t.Parallel()
	first := &event.ReadyToCapture{ID: "e1", OrderID: "x", ExternalReference: "x"}
	second := &event.ReadyToCapture{ID: "e2", OrderID: "y", ExternalReference: "x"}
	l := newLanes()
	if !l.enter(&item{lanes: lanesOf(polledRecord{record: &kgo.Record{}, event: first})}) {
		t.Fatal("the first may not go")
	}
	if l.enter(&item{lanes: lanesOf(polledRecord{record: &kgo.Record{}, event: second})}) {
		t.Error("the second goes at the same time")
	}
}
