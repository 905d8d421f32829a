package pipeline

import (
	"errors"
	"testing"
)

func TestCommittedSaysWhatIsSettled(t *testing.T) {
	t.Parallel()
	ours := topicID{1}
	meta := metadata{topic: ours, settled: settledMap{end: 14, unsettled: []int64{10, 12}}}.encode(10)
	c, err := ParseCommitted(10, meta)
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int64]bool{0: true, 9: true, 10: false, 11: true, 12: false, 13: true, 14: false, 99: false} {
		if got := c.Settled(ours, offset); got != want {
			t.Errorf("offset %d: settled is %t, want %t", offset, got, want)
		}
		if got := c.Settled(topicID{}, offset); got != want {
			t.Errorf("offset %d of a topic whose id is not known: settled is %t, want %t", offset, got, want)
		}
		if c.Settled(topicID{2}, offset) {
			t.Errorf("offset %d is settled in a topic made anew", offset)
		}
	}
}

func TestCommittedWithoutMetadata(t *testing.T) {
	t.Parallel()
	for text, wantErr := range map[string]error{"": nil, "somebody else's": errMetadata} {
		c, err := ParseCommitted(10, text)
		if !errors.Is(err, wantErr) {
			t.Errorf("%q: got %v, want %v", text, err, wantErr)
		}
		if !c.Settled(topicID{1}, 9) || c.Settled(topicID{1}, 10) {
			t.Errorf("%q: the offset alone should count", text)
		}
	}
}
