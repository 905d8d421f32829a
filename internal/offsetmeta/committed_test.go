package offsetmeta_test

import (
	"errors"
	"testing"

	"payment-capture/internal/offsetmeta"
)

func TestCommittedCompleted(t *testing.T) {
	t.Parallel()
	ours := offsetmeta.TopicID{1}
	meta := offsetmeta.Metadata{Input: ours, Completed: offsetmeta.Completed{End: 14, Open: []int64{10, 12}}}.Encode(10)
	c, err := offsetmeta.ParseCommitted(10, meta)
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int64]bool{0: true, 9: true, 10: false, 11: true, 12: false, 13: true, 14: false, 99: false} {
		if got := c.Completed(ours, offset); got != want {
			t.Errorf("offset %d: completed is %t, want %t", offset, got, want)
		}
		if got := c.Completed(offsetmeta.TopicID{}, offset); got != want {
			t.Errorf("offset %d of a topic whose id is not known: completed is %t, want %t", offset, got, want)
		}
		if c.Completed(offsetmeta.TopicID{2}, offset) {
			t.Errorf("offset %d is completed in a recreated topic", offset)
		}
	}
}

func TestCommittedWithoutMetadata(t *testing.T) {
	t.Parallel()
	for text, wantErr := range map[string]error{"": nil, "of another program": offsetmeta.ErrInvalid} {
		c, err := offsetmeta.ParseCommitted(10, text)
		if !errors.Is(err, wantErr) {
			t.Errorf("%q: got %v, want %v", text, err, wantErr)
		}
		if !c.Completed(offsetmeta.TopicID{1}, 9) || c.Completed(offsetmeta.TopicID{1}, 10) {
			t.Errorf("%q: the offset alone should count", text)
		}
	}
}
