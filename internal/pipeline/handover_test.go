package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/offsetmeta"
)

// ownerWithTopics returns an owner whose input topic and ledger have the given ids.
func ownerWithTopics(t *testing.T, input, ledger offsetmeta.TopicID) *owner {
	t.Helper()
	o := newTestOwner(t, Config{Topics: Topics{Input: "orders", Ledger: "ledger"}}, &ledgerStub{id: ledger})
	o.p.commitConf.TopicID = input
	return o
}

// TestStartAt is the table of committed offsets and their metadata. A topic id that is
// zero, on either side, is not known.
func TestStartAt(t *testing.T) {
	t.Parallel()
	unknown, input, ledger, other := offsetmeta.TopicID{}, offsetmeta.TopicID{1}, offsetmeta.TopicID{2}, offsetmeta.TopicID{9}
	const missing = "ledger_missing"
	for name, test := range map[string]struct {
		topic, ledger         offsetmeta.TopicID // of the topics
		inMetadata, hasLedger offsetmeta.TopicID // that the metadata names
		recreated             bool
		missing               string
	}{
		"all the same":                        {input, ledger, input, ledger, false, ""},
		"another input topic":                 {input, ledger, other, ledger, true, ""},
		"another ledger":                      {input, ledger, input, other, false, missing},
		"another input topic and ledger":      {input, ledger, other, other, true, missing},
		"the brokers have no ids any more":    {unknown, unknown, input, ledger, false, ""},
		"the brokers have ids now":            {input, ledger, unknown, unknown, false, ""},
		"the brokers never had ids":           {unknown, unknown, unknown, unknown, false, ""},
		"the input's id is unknown":           {unknown, ledger, input, ledger, false, ""},
		"the input's id was unknown":          {input, ledger, unknown, ledger, false, ""},
		"the ledger's id is unknown":          {input, unknown, input, ledger, false, ""},
		"the ledger's id was unknown":         {input, ledger, input, unknown, false, ""},
		"unknown input, another ledger":       {unknown, ledger, input, other, false, missing},
		"another input, unknown ledger":       {input, unknown, other, ledger, true, ""},
		"another input, ledger never known":   {input, unknown, other, unknown, true, ""},
		"input never known, ledger the same":  {unknown, ledger, unknown, ledger, false, ""},
		"input was unknown, ledger not there": {input, ledger, unknown, other, false, missing},
	} {
		o := ownerWithTopics(t, test.topic, test.ledger)
		completed := offsetmeta.Completed{End: 14, Open: []int64{12}}
		meta := offsetmeta.Metadata{Input: test.inMetadata, Ledger: test.hasLedger, Completed: completed}.Encode(10)
		p, recreated := o.startAt(kmsg.OffsetFetchResponseGroupTopicPartition{Offset: 10, LeaderEpoch: 3, Metadata: &meta})
		if recreated != test.recreated || p.foreign ||
			!strings.HasPrefix(p.ledgerMissing, test.missing) || (test.missing == "") != (p.ledgerMissing == "") {
			t.Errorf("%s: got %+v, recreated %t", name, p, recreated)
		}
		want := startOffset{offset: 10, epoch: 3, completed: completed}
		if recreated {
			want = startOffset{epoch: -1}
		}
		if p.offset != want.offset || p.epoch != want.epoch || p.completed.End != want.completed.End ||
			!slices.Equal(p.completed.Open, want.completed.Open) {
			t.Errorf("%s: got %+v, want %+v", name, p, want)
		}
	}
}

// TestStartAtAForeignOffset: an offset that this service did not commit.
func TestStartAtAForeignOffset(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]*string{
		"nil": nil, "empty": new(""), "a member id": new("Ln7JAcCA9dexlIv4el7Q7g=="), "text": new("reset by anna"),
		"another version": new("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
	} {
		o := ownerWithTopics(t, offsetmeta.TopicID{1}, offsetmeta.TopicID{2})
		o.p.ledgerMissing = "ledger_missing: by other partitions"
		p, recreated := o.startAt(kmsg.OffsetFetchResponseGroupTopicPartition{Offset: 10, LeaderEpoch: 3, Metadata: text})
		if recreated || !p.foreign || p.offset != 10 || p.epoch != 3 || p.completed.End != 0 || p.ledgerMissing != o.p.ledgerMissing {
			t.Errorf("%s: got %+v, recreated %t", name, p, recreated)
		}
	}
}

// A foreign offset halts as well if the group's other commits name another ledger.
func TestMissingLedger(t *testing.T) {
	t.Parallel()
	named := func(ledger offsetmeta.TopicID) kadm.Offset {
		return kadm.Offset{At: 5, Metadata: offsetmeta.Metadata{Ledger: ledger}.Encode(5)}
	}
	foreign := kadm.Offset{At: 5, Metadata: "of another program"}
	for name, test := range map[string]struct {
		ledger    offsetmeta.TopicID
		committed []kadm.Offset
		missing   bool
	}{
		"none":                      {offsetmeta.TopicID{2}, nil, false},
		"foreign ones":              {offsetmeta.TopicID{2}, []kadm.Offset{foreign}, false},
		"the same":                  {offsetmeta.TopicID{2}, []kadm.Offset{foreign, named(offsetmeta.TopicID{2})}, false},
		"another":                   {offsetmeta.TopicID{2}, []kadm.Offset{named(offsetmeta.TopicID{}), named(offsetmeta.TopicID{3})}, true},
		"another, and none is here": {offsetmeta.TopicID{}, []kadm.Offset{named(offsetmeta.TopicID{3})}, false},
	} {
		if got := ownerWithTopics(t, offsetmeta.TopicID{1}, test.ledger).p.missingLedger(test.committed); (got != "") != test.missing {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
