package entry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"payment-capture/internal/ledger/entry"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	const owner = "owner"
	for _, id := range []string{
		"e1", "e/1", "/", "//", "/e1", "e1/", "a/e1", "d/e1", "e1/owner", "~!@#$%^&*()[]", "sha256:00ff", strings.Repeat("/", 64),
	} {
		kind, gotID, gotOwner, err := entry.ParseKey(entry.AttemptKey(id, owner))
		if kind != entry.KindAttempt || gotID != id || gotOwner != owner || err != nil {
			t.Errorf("the attempt's key of %q: got %c %q %q, %v", id, kind, gotID, gotOwner, err)
		}
		kind, gotID, gotOwner, err = entry.ParseKey(entry.DecisionKey(id))
		if kind != entry.KindDecision || gotID != id || gotOwner != "" || err != nil {
			t.Errorf("the decision's key of %q: got %c %q %q, %v", id, kind, gotID, gotOwner, err)
		}
	}
	for _, key := range []string{
		"", "a", "d", "a/", "d/", "a/e1", "a/e1/", "a//", "a//owner", "x/e1", "x/e1/owner", "d-e1", "de1", "D/e1", "A/e1/owner",
	} {
		if kind, id, owner, err := entry.ParseKey([]byte(key)); !errors.Is(err, entry.ErrUnreadable) {
			t.Errorf("key %q: got %c %q %q, %v", key, kind, id, owner, err)
		}
	}
}

// The partitions are those of a published hash, and stay as they are: another
// partition would part the attempts of one reference.
func TestPartition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reference, id string
		partitions    int32
		want          int32
	}{
		{"a", "e1", 1, 0},
		{"a", "e1", 1_000_000_007, int32(uint64(0xd24ec4f1a98c6e5b) % 1_000_000_007)},
		{"abc", "e1", 1_000_000_007, int32(uint64(0x44bc2cf5ad770999) % 1_000_000_007)},
		{"", "abc", 1_000_000_007, int32(uint64(0x44bc2cf5ad770999) % 1_000_000_007)},
	} {
		if got := entry.Partition(tt.reference, tt.id, tt.partitions); got != tt.want {
			t.Errorf("Partition(%q, %q, %d) = %d, want %d", tt.reference, tt.id, tt.partitions, got, tt.want)
		}
	}
	const partitions, references = 12, 12_000
	var count [partitions]int
	for i := range references {
		count[entry.Partition(fmt.Sprintf("order-%d", i), "e1", partitions)]++
	}
	for p, n := range count {
		if n < references/partitions*9/10 || n > references/partitions*11/10 {
			t.Errorf("partition %d has %d of %d references", p, n, references)
		}
	}
}
