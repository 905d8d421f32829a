//go:build synctests || integration

package acceptance

import (
	"cmp"
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
	err  error // instead of ENOSPC
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.full.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: cmp.Or[error](d.err, syscall.ENOSPC)}
	}
	return d.FS.Create(name, c)
}

// unwritableDisk starts an instance whose LEDGER_DIR cannot be written for another reason
// than space. Readiness names the cause and the variable.
func unwritableDisk(w *world) {
	disk := &fullDisk{FS: w.stores.fs}
	if disk.FS == nil {
		disk.FS = vfs.Default
	}
	w.stores.fs = disk
	for _, err := range []error{syscall.EROFS, syscall.EACCES, syscall.EIO, syscall.EMFILE} {
		disk.err = err
		disk.full.Store(true)
		in := w.start("a")
		w.eventually("not ready because of "+err.Error(), func() bool {
			ready, body := in.readyz()
			reason, _, _ := strings.Cut(body, `"detail"`)
			return !ready && containsAll(reason, "LEDGER_DIR", err.Error())
		})
		disk.full.Store(false)
		in.stop()
	}
	w.start("a")
	w.send(order{id: "e1"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
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
