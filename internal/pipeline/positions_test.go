package pipeline

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
	"payment-capture/internal/offsetmeta"
)

// ledgerStub is a ledger that has a topic id and decisions; nothing else of it is
// asked for.
type ledgerStub struct {
	Ledger
	id      offsetmeta.TopicID
	history map[string]event.History
}

func (l *ledgerStub) TopicID() [16]byte             { return l.id }
func (l *ledgerStub) CatchUp(context.Context) error { return nil }
func (l *ledgerStub) Lookup(_ context.Context, id string) (event.History, error) {
	return l.history[id], nil
}

func ownerForTest(topic, ledger offsetmeta.TopicID) *owner {
	p := New(Config{Log: slog.New(slog.DiscardHandler), Topics: Topics{Input: "orders", Ledger: "ledger"}}, nil, &ledgerStub{id: ledger})
	p.commits.TopicID = topic
	o := newOwner(p)
	o.work = context.Background()
	return o
}

// TestPositionOf is the table of what a committed offset says. A topic id that is
// zero, on either side, is not known.
func TestPositionOf(t *testing.T) {
	t.Parallel()
	unknown, input, ledger, other := offsetmeta.TopicID{}, offsetmeta.TopicID{1}, offsetmeta.TopicID{2}, offsetmeta.TopicID{9}
	const missing = "ledger_missing"
	for name, test := range map[string]struct {
		topic, ledger         offsetmeta.TopicID // that are there
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
		o := ownerForTest(test.topic, test.ledger)
		meta := offsetmeta.Metadata{Input: test.inMetadata, Ledger: test.hasLedger, Completed: offsetmeta.Completed{End: 14, Open: []int64{12}}}.Encode(10)
		p, recreated := o.positionOf(kmsg.OffsetFetchResponseGroupTopicPartition{Offset: 10, LeaderEpoch: 3, Metadata: &meta})
		if recreated != test.recreated || p.foreign || !strings.HasPrefix(p.missing, test.missing) || (test.missing == "") != (p.missing == "") {
			t.Errorf("%s: got %+v, recreated %t", name, p, recreated)
		}
		want := position{offset: 10, epoch: 3, settled: offsetmeta.Completed{End: 14, Open: []int64{12}}}
		if recreated {
			want = position{epoch: -1}
		}
		if p.offset != want.offset || p.epoch != want.epoch || p.settled.End != want.settled.End || len(p.settled.Open) != len(want.settled.Open) {
			t.Errorf("%s: got %+v, want %+v", name, p, want)
		}
	}
}

// TestPositionOfAnother is an offset that something else committed.
func TestPositionOfAnother(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]*string{
		"nil": nil, "empty": new(""), "a member id": new("Ln7JAcCA9dexlIv4el7Q7g=="), "text": new("reset by anna"),
		"another version": new("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
	} {
		o := ownerForTest(offsetmeta.TopicID{1}, offsetmeta.TopicID{2})
		o.p.groupMissing = "ledger_missing: as other partitions say"
		p, recreated := o.positionOf(kmsg.OffsetFetchResponseGroupTopicPartition{Offset: 10, LeaderEpoch: 3, Metadata: text})
		if recreated || !p.foreign || p.offset != 10 || p.epoch != 3 || p.settled.End != 0 || p.missing != o.p.groupMissing {
			t.Errorf("%s: got %+v, recreated %t", name, p, recreated)
		}
	}
}

// A partition of a group whose other commits know another ledger halts as well.
func TestMissingLedger(t *testing.T) {
	t.Parallel()
	named := func(ledger offsetmeta.TopicID) kadm.Offset {
		return kadm.Offset{At: 5, Metadata: offsetmeta.Metadata{Ledger: ledger}.Encode(5)}
	}
	foreign := kadm.Offset{At: 5, Metadata: "somebody else's"}
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
		if got := ownerForTest(offsetmeta.TopicID{1}, test.ledger).p.missingLedger(test.committed); (got != "") != test.missing {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
