package pipeline

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Only records that a broker sent can be unreadable. Every connection failure is
// retried, also an unknown one.
func TestUnreadableRecords(t *testing.T) {
	batch := kmsg.RecordBatch{Length: 49, Magic: 2, CRC: 1}
	response := kmsg.FetchResponseTopicPartition{Partition: 2, HighWatermark: 7, RecordBatches: batch.AppendTo(nil)}
	opts := kgo.ProcessFetchPartitionOpts{Topic: "orders", Partition: 2}
	corrupt, _ := kgo.ProcessFetchPartition(opts, &response, kgo.DefaultDecompressor(), nil)
	if corrupt.Err == nil {
		t.Fatal("the client reads a batch with a wrong checksum")
	}
	if !unreadable(kgo.FetchTopicPartition{Topic: "orders", FetchPartition: corrupt}) {
		t.Errorf("unreadable(%v) = false", corrupt.Err)
	}
	for _, err := range []error{
		nil, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, kerr.NotLeaderForPartition, kerr.CorruptMessage,
		&tls.CertificateVerificationError{Err: errors.New("expired")},
		tls.RecordHeaderError{Msg: "not TLS"},
		fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), errors.New("whatever the next version returns"),
	} {
		ft := kgo.FetchTopicPartition{Topic: "orders", FetchPartition: kgo.FetchPartition{Partition: 2, Err: err}}
		if unreadable(ft) {
			t.Errorf("unreadable(%v) = true", err)
		}
	}
}
