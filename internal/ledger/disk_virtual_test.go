//go:build synctests

package ledger

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
)

// onBadDisk returns a ledger on a disk on which the operations that are bad fail while
// the returned value is true. It is not started.
func (w *world) onBadDisk(err error, bad func(op errorfs.Op) bool) (*Ledger, *atomic.Bool) {
	failing := new(atomic.Bool)
	fs := w.fs
	w.fs = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && bad(op) {
			return &os.PathError{Op: "access", Path: op.Path, Err: err}
		}
		return nil
	}))
	l := w.ledger("a")
	w.fs = fs
	l.conf.Metrics = NewMetrics(prometheus.NewRegistry())
	return l, failing
}

// onFullDisk returns a ledger on a disk that is full while the returned value is true. It
// is not started.
func (w *world) onFullDisk() (*Ledger, *atomic.Bool) {
	l, full := w.onBadDisk(syscall.ENOSPC, func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose
	})
	l.memTable = 256 << 10
	return l, full
}

// saysFull checks that a ledger says that its disk is full.
func (w *world) saysFull(l *Ledger) {
	w.t.Helper()
	w.says(l, "in a/store: no space left on device", " bytes in it, 4096 bytes free", "free space or enlarge the volume")
	if h := l.Health(); !h.DiskFailing {
		w.t.Errorf("health %+v: the disk is not failing", h)
	}
	if free := testutil.ToFloat64(l.conf.Metrics.free); free != 4096 {
		w.t.Errorf("the metric says %f bytes are free", free)
	}
}

func (w *world) says(l *Ledger, parts ...string) {
	w.t.Helper()
	h := l.Health()
	for _, part := range parts {
		if !strings.Contains(h.Reason, part) {
			w.t.Errorf("health %+v does not say %q", h, part)
		}
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
				if used := testutil.ToFloat64(l.conf.Metrics.store); used == 0 {
					t.Error("the metric says that the store is empty")
				}
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

// A disk that returns an error instead of what is on it: no decision counts as missing.
// The store is rebuilt, with pauses while that does not help, and the ledger says why.
func TestDiskThatCannotBeRead(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		const n = 200
		w.events(n)
		l, unreadable := w.onBadDisk(syscall.EIO, func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst")
		})
		l.memTable = 16 << 10 // else a rebuilt store has all in memory
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.caughtUp(l)
		records := l.Health().Read
		unreadable.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				h, err := l.Lookup(ctx, fmt.Sprintf("e%d", i%n))
				if got := knownOf(h); err == nil && got != (known{decided: "captured"}) {
					t.Errorf("of e%d it knows %+v", i%n, got)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		time.Sleep(30 * time.Minute)
		w.says(l, "in a/store: ", "input/output error", " bytes in it, 4096 bytes free", "it is rebuilt from the topic", "check the volume")
		if rebuilt := l.Health().Read/records - 1; rebuilt < 20 || rebuilt > 40 {
			t.Errorf("it was rebuilt %d times in half an hour", rebuilt)
		}
		unreadable.Store(false)
		w.caughtUpWithin(l, 2*rebuildPause)
		cancel()
		asking.Wait()
		if h := l.Health(); h.Reason != "" {
			t.Errorf("health %+v", h)
		}
		w.closes(l)
	})
}
