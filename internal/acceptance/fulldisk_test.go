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

// fullDisk is a disk on which no file can be created or written while it is full.
type fullDisk struct {
	vfs.FS
	full atomic.Bool
	err  error // instead of ENOSPC
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.full.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: cmp.Or[error](d.err, syscall.ENOSPC)}
	}
	f, err := d.FS.Create(name, c)
	return &fullDiskFile{f, d}, err
}

type fullDiskFile struct {
	vfs.File
	disk *fullDisk
}

func (f *fullDiskFile) Write(p []byte) (int, error) {
	if f.disk.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

// fullDiskWhileRunning fills the disk of a running instance. It is not ready, says so
// without flooding the log, and works on when there is space.
func fullDiskWhileRunning(w *world) {
	disk := &fullDisk{FS: w.stores.fs}
	if disk.FS == nil {
		disk.FS = vfs.Default
	}
	w.stores.fs = disk
	in := w.start("a")
	w.send(order{id: "before"})
	w.awaitDecisions()
	disk.full.Store(true)
	const orders = 4000 // more than the store keeps in memory
	w.send(numbered(orders, nil)...)
	in.readyzSays("no space left on device", "free space or enlarge the volume")
	before := strings.Count(w.log.String(), "no space left")
	<-time.After(w.long())
	if lines := strings.Count(w.log.String(), "no space left") - before; lines > 100 {
		w.t.Errorf("%d log lines in %s", lines, w.long())
	}
	disk.full.Store(false)
	w.want(w.awaitDecisions(), map[string]int{"captured": orders + 1})
	w.wantOneCallPerEvent()
	w.eventually("it is ready", func() bool { ready, _ := in.readyz(); return ready })
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
