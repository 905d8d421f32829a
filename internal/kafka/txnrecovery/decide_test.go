package txnrecovery

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestDecide: a hanging transaction ends as the coordinator decided, if the
// coordinator still knows. Otherwise it is committed unless its offsets hang too.
func TestDecide(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state       string
		behind      int16 // how far the hanging transaction is behind the coordinator's epoch
		offsetsHang bool
		commit      bool
	}{
		// The coordinator's last transaction, whose end raised the epoch or did not.
		{stateCommitted, 1, true, true},
		{stateCommitted, 1, false, true},
		{statePrepareCommit, 0, true, true},
		{stateAborted, 1, true, false},
		{stateAborted, 1, false, false},
		{statePrepareAbort, 0, false, false},
		{stateFencing, 0, true, false},
		{stateOngoing, 0, false, false},
		// An earlier transaction, or the coordinator knows none.
		{stateCommitted, 2, false, true},
		{stateCommitted, 2, true, false},
		{stateAborted, 2, false, true},
		{stateOngoing, 1, false, true},
		{stateOngoing, 1, true, false},
		{stateEmpty, 1, false, true},
		{stateEmpty, 1, true, false},
		{"", 0, false, true},
		{"", 0, true, false},
	} {
		last := kadm.DescribedTransaction{State: test.state, ProducerEpoch: 7}
		if got := decide(last, 7-test.behind, test.offsetsHang); got != test.commit {
			t.Errorf("%+v: commit %v", test, got)
		}
	}
}

// TestGroupPartition compares with Kafka: kafka-dump-log shows the offsets of
// TestChaos.group in partition 25 of 50. The other rows are known values of Java's
// String.hashCode, whose absolute value counts.
func TestGroupPartition(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		group      string
		partitions int
		want       int32
	}{
		{"TestChaos.group", 50, 25},
		{"hello", 50, 22}, // 99162322
		{"hello", 6, 4},
		{"Hello World", 50, 26},       // -862545276
		{"\U0001F600", 50, 49},        // 1772899, of two UTF-16 units
		{"polygenelubricants", 50, 0}, // -2147483648 has no absolute value; Kafka uses 0
		{"anything", 1, 0},
	} {
		if got := groupPartition(test.group, test.partitions); got != test.want {
			t.Errorf("group %q is in partition %d of %d, want %d", test.group, got, test.partitions, test.want)
		}
	}
}
