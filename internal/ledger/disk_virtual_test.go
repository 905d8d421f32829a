//go:build synctests

package ledger

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/twmb/franz-go/pkg/kgo"
)

// onFullDisk returns a ledger on a disk that is full while the returned value is true. It
// is not started.
func (w *world) onFullDisk() (*Ledger, *atomic.Bool) {
	full := new(atomic.Bool)
	fs := w.fs
	w.fs = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose {
			return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	}))
	l := w.ledger("a")
	w.fs = fs
	l.memTable = 256 << 10
	return l, full
}

// saysFull checks that a ledger says that its disk is full.
func (w *world) saysFull(l *Ledger) {
	w.t.Helper()
	h := l.Health()
	for _, part := range []string{"in a/store: no space left on device", "free space or enlarge the volume"} {
		if !strings.Contains(h.Reason, part) {
			w.t.Errorf("health %+v does not say %q", h, part)
		}
	}
	if !h.DiskFailing {
		w.t.Errorf("health %+v: the disk is not failing", h)
	}
}

func (w *world) closes(l *Ledger) {
	w.t.Helper()
	began := time.Now()
	if err := l.Close(); err != nil {
		w.t.Errorf("close the ledger: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		w.t.Errorf("closing took %s", took)
	}
}

// A full disk at the start: the ledger says so, waits, and continues by itself.
func TestFullDiskAtTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l, full := w.onFullDisk()
		full.Store(true)
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		w.saysFull(l)
		if h := l.Health(); h.State != stateRestoring {
			t.Errorf("health %+v", h)
		}
		full.Store(false)
		w.caughtUpWithin(l, 30*time.Second)
		w.knows(l, "e1", known{decided: "captured"})
		if h := l.Health(); h.Reason != "" || h.DiskFailing {
			t.Errorf("health %+v", h)
		}
		w.closes(l)
	})
}

// fills writes attempts that take some 1,100 bytes of the store each.
func (w *world) fills(from, n int) {
	w.t.Helper()
	rs := make([]*kgo.Record, n)
	for i := range rs {
		a := attemptAt(int64(1 + from + i))
		a.Reference = strings.Repeat("r", 1000)
		rs[i] = w.attempt(int32((from+i)%testPartitions), fmt.Sprintf("many-%d", from+i), a)
	}
	w.plain(rs...)
}

// A disk that fills while the ledger follows: it says so, and what it knows is answered.
// Nothing is lost by it, and the ledger can be closed even while a writer waits.
func TestDiskThatFillsWhileRunning(t *testing.T) {
	for name, room := range map[string]bool{"and gets room": true, "and is closed": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.events(3)
				l, full := w.onFullDisk()
				if err := l.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.caughtUp(l)
				full.Store(true)
				const n = 1_500 // more than the store holds in memory
				for i := range n / 250 {
					w.fills(i*250, 250)
					time.Sleep(time.Second) // the ledger reads these alone
				}
				time.Sleep(5 * time.Minute)
				w.saysFull(l)
				if behind := l.Health().Behind; behind == 0 {
					t.Error("all was read: no writer waits for room")
				}
				w.knows(l, "e1", known{decided: "captured"})
				if room {
					full.Store(false)
					w.caughtUp(l)
					time.Sleep(10 * time.Second) // until the next try
					if h := l.Health(); h.Reason != "" || h.DiskFailing {
						t.Errorf("health %+v", h)
					}
				}
				w.closes(l)
				full.Store(false)
				l = w.started("a")
				for _, i := range []int{0, 1, n / 2, n - 1} {
					w.knows(l, fmt.Sprintf("many-%d", i), known{attempted: int64(1 + i)})
				}
				w.knows(l, "e1", known{decided: "captured"})
			})
		})
	}
}
