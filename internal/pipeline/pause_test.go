package pipeline

import (
	"testing"
	"time"
)

// A flush that ran into the markers of the last one makes the pauses long; short
// flushes bring them down again, and no further than the least.
func TestNextFlushPause(t *testing.T) {
	t.Parallel()
	pause := nextFlushPause(0, 5*time.Millisecond)
	if pause != leastFlushPause {
		t.Errorf("after a short flush the pause is %s", pause)
	}
	if pause = nextFlushPause(pause, 30*time.Millisecond); pause != 30*time.Millisecond {
		t.Errorf("after one of 30 ms it is %s", pause)
	}
	if longer := nextFlushPause(pause, 22*time.Millisecond); longer != pause {
		t.Errorf("one of 22 ms shortens it to %s", longer)
	}
	steps := 0
	for ; pause > leastFlushPause; steps++ {
		if pause = nextFlushPause(pause, 5*time.Millisecond); steps > 100 {
			t.Fatalf("it stays at %s", pause)
		}
	}
	if steps < 10 {
		t.Errorf("%d short flushes bring it down", steps)
	}
}
