//go:build synctests

package acceptance

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDecompressionBomb sends a batch that would decompress to more than any topic
// allows. The service does not decompress it; the partition halts with the offset, and
// the other one continues.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	virtually(t, 2, func(w *world) {
		w.client = w.newClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.GzipCompression()),
			kgo.ProducerBatchMaxBytes(96<<20))
		in := w.start("a")
		w.send(order{id: "e1", partition: 1}, order{id: "e2", partition: 2})
		w.awaitDecisions()
		bomb := &kgo.Record{Topic: w.topics.input, Partition: 0, Value: bytes.Repeat([]byte(" "), 80<<20)}
		if err := w.client.ProduceSync(w.t.Context(), bomb).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		w.eventually("the partition is halted", func() bool {
			return strings.Contains(in.service.HaltedPartitions(w.t.Context())[0], "from offset 1 on cannot be read")
		})
		w.send(order{id: "e3", partition: 2})
		w.eventually("the other partition continues", func() bool { return len(w.decisions()) == 3 })
		w.check(w.decisions())
	})
}
