//go:build synctests || integration

package acceptance

import (
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullDisk is a disk on which no file can be created while it is full.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.full.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return d.FS.Create(name, c)
}

// fullDiskAtStart starts an instance with a full disk: it waits, reports why, and works
// as soon as there is space.
func fullDiskAtStart(w *world) {
	disk := &fullDisk{FS: w.stores.fs}
	if disk.FS == nil {
		disk.FS = vfs.Default
	}
	w.stores.fs = disk
	for i, name := range []string{"without a store", "with a store"} {
		disk.full.Store(true)
		in := w.start("a")
		w.send(numbered(2, nil)[i])
		w.eventually("not ready because of the disk: "+name, func() bool {
			ready, body := in.readyz()
			return !ready && strings.Contains(body, `"reason":"write local store of the ledger in `+w.stores.dir) &&
				strings.Contains(body, "no space left on device") && strings.Contains(body, "free space or enlarge the volume")
		})
		select {
		case err := <-in.ended:
			w.t.Fatalf("%s: it ended: %v", name, err)
		case <-time.After(5 * time.Second):
		}
		disk.full.Store(false)
		w.eventually("ready: "+name, func() bool { ready, _ := in.readyz(); return ready })
		w.awaitDecisions()
		in.stop()
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 2})
}
