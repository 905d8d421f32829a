package verify

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
)

// recordBatch is the header of a batch with so many records, up to last.
func recordBatch(base, last int64, records uint32) []byte {
	b := make([]byte, 61)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[8:], 61-12)
	binary.BigEndian.PutUint32(b[23:], uint32(last-base))
	binary.BigEndian.PutUint32(b[57:], records)
	return b
}

func TestEmptyUntil(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		batches [][]byte
		want    bool
	}{
		"nothing":                          {nil, false},
		"half a batch":                     {[][]byte{{1, 2, 3}}, false},
		"a record":                         {[][]byte{recordBatch(5, 5, 1)}, false},
		"a batch behind":                   {[][]byte{recordBatch(10, 12, 3)}, true},
		"compacted up to the end":          {[][]byte{recordBatch(5, 9, 0)}, true},
		"compacted, then one behind":       {[][]byte{recordBatch(5, 7, 0), recordBatch(10, 10, 1)}, true},
		"compacted, then a record":         {[][]byte{recordBatch(5, 7, 0), recordBatch(9, 9, 1)}, false},
		"compacted, and the rest not here": {[][]byte{recordBatch(5, 7, 0)}, false},
	} {
		var all []byte
		for _, b := range test.batches {
			all = append(all, b...)
		}
		if got := kafka.EmptyUntil(all, 10); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestNothingBetween(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Fake(t, kfake.SeedTopics(2, "topic"))
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addresses...), kgo.Dialer(broker.Dial), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for range 3 {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "topic", Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	top := &topic{name: "topic", id: broker.Fake.TopicInfo("topic").TopicID}
	for _, test := range []struct {
		partition int32
		from, to  int64
		want      bool
	}{
		{1, 3, 3, true},  // read to the end
		{1, 2, 3, false}, // one is there
		{1, 0, 3, false},
		{1, 3, 4, false}, // the log does not reach so far
		{0, 0, 0, true},
	} {
		got, err := nothingBetween(t.Context(), client, top, test.partition, test.from, test.to)
		if err != nil || got != test.want {
			t.Errorf("%+v: %t, %v", test, got, err)
		}
	}
	if _, err := nothingBetween(t.Context(), client, top, 7, 0, 1); err == nil {
		t.Error("a partition that is not there: no error")
	}
}
