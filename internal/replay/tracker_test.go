package replay

import (
	"math/rand/v2"
	"testing"
)

// TestTracker: whatever the order in which records are acknowledged, all below
// what it says is done, and what it says is the furthest.
func TestTracker(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		spans := []span{{Partition: 4, Next: 10, End: 1000}}
		track := newTracker(spans, 7)
		done, sent := make(map[int64]bool), int64(7)
		ends := make(map[int64]func(bool))
		next := int64(10)
		for range 100 {
			if random.IntN(2) == 0 || len(ends) == 0 {
				next += random.Int64N(3) // a gap
				if random.IntN(3) == 0 {
					track.leaveOut(4, next)
				} else {
					ends[next] = track.begin(4, next)
				}
				next++
			} else {
				for offset, end := range ends { // any one
					acked := random.IntN(10) > 0
					end(acked)
					if acked {
						sent++
					}
					done[offset] = true
					delete(ends, offset)
					break
				}
			}
			want := next
			for offset := range ends {
				want = min(want, offset)
			}
			if got := track.apply(spans); spans[0].Next != want || got != sent {
				t.Fatalf("it says %d, and %d sent; want %d, %d; open: %d", spans[0].Next, got, want, sent, len(ends))
			}
		}
	}
}
