//go:build integration && chaos

package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// diagnose prints the broker's view of the transactions after a failure, and saves the
// broker's log beside those of the instances.
func (c *chaos) diagnose() {
	if !c.t.Failed() {
		return
	}
	var text strings.Builder
	ctx := c.t.Context()
	topics := []string{c.topics.captured, c.topics.rejected, c.topics.parked, c.topics.ledger}
	ends, err := c.admin.ListEndOffsets(ctx, topics...)
	fmt.Fprintf(&text, "end offsets (%v)\n", err)
	stable, err := c.admin.ListCommittedOffsets(ctx, topics...)
	fmt.Fprintf(&text, "stable offsets (%v)\n", err)
	ends.Each(func(end kadm.ListedOffset) {
		if s, ok := stable.Lookup(end.Topic, end.Partition); !ok || s.Offset != end.Offset {
			fmt.Fprintf(&text, "  %s/%d is stable to %d of %d: a transaction is open\n", end.Topic, end.Partition, s.Offset, end.Offset)
		}
	})
	var set kadm.TopicsSet
	for _, topic := range topics {
		set.Add(topic)
	}
	producers, err := c.admin.DescribeProducers(ctx, set)
	fmt.Fprintf(&text, "producers with an open transaction (%v)\n", err)
	producers.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset >= 0 {
			fmt.Fprintf(&text, "  %+v\n", p)
		}
	})
	transactions, err := c.admin.DescribeTransactions(ctx)
	fmt.Fprintf(&text, "transactions (%v)\n", err)
	for _, x := range transactions.Sorted() {
		fmt.Fprintf(&text, "  %+v\n", x)
	}
	path := filepath.Join(c.t.ArtifactDir(), "broker.log")
	err = os.WriteFile(path, []byte(c.broker.Log(ctx)), 0o600)
	c.t.Logf("chaos: %sthe broker's log is %s (%v)", text.String(), path, err)
}
