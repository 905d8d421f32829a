//go:build synctests || integration

package acceptance

import (
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/config"
)

// badDisk is a disk on which no file can be created or written while it has an error.
type badDisk struct {
	vfs.FS
	errno atomic.Uintptr // 0: none
}

// badDisk puts a disk without an error under the local stores.
func (w *world) badDisk() *badDisk {
	disk := &badDisk{FS: w.stores.fs}
	if disk.FS == nil {
		disk.FS = vfs.Default
	}
	w.stores.fs = disk
	return disk
}

func (d *badDisk) check(op, name string) error {
	if no := syscall.Errno(d.errno.Load()); no != 0 {
		return &os.PathError{Op: op, Path: name, Err: no}
	}
	return nil
}

func (d *badDisk) fails(no syscall.Errno) { d.errno.Store(uintptr(no)) }

func (d *badDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return &badDiskFile{f, d}, err
}

type badDiskFile struct {
	vfs.File
	disk *badDisk
}

func (f *badDiskFile) Write(p []byte) (int, error) {
	if err := f.disk.check("write", ""); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// fullDiskWhileRunning fills the disk of a running instance. It is not ready, says so
// without flooding the log, and works on when there is space.
func fullDiskWhileRunning(w *world) {
	disk := w.badDisk()
	in := w.start("a")
	w.send(order{id: "before"})
	w.awaitDecisions()
	disk.fails(syscall.ENOSPC)
	const orders = 4000 // more than the store keeps in memory
	w.send(numbered(orders, nil)...)
	in.readyzSays("no space left on device", "free space or enlarge the volume")
	before := strings.Count(w.log.String(), "no space left")
	<-time.After(w.long())
	if lines := strings.Count(w.log.String(), "no space left") - before; lines > 100 {
		w.t.Errorf("%d log lines in %s", lines, w.long())
	}
	disk.fails(0)
	w.want(w.awaitDecisions(), map[string]int{"captured": orders + 1})
	w.wantOneCallPerEvent()
	w.eventually("it is ready", func() bool { ready, _ := in.readyz(); return ready })
}

// badDiskAtStart starts an instance whose disk cannot be written: it waits, reports why,
// and works as soon as the disk can be written. The first one has no store yet.
func badDiskAtStart(w *world) {
	disk := w.badDisk()
	remedies := map[syscall.Errno]string{
		syscall.ENOSPC: "free space or enlarge the volume", syscall.EROFS: "make the volume writable",
		syscall.EACCES: "let the service's user write there", syscall.EIO: "check the directory and its volume",
	}
	for i, no := range []syscall.Errno{syscall.ENOSPC, syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.EIO} {
		disk.fails(no)
		in := w.start("a")
		w.send(numbered(5, nil)[i])
		in.readyzSays(`"reason":"write local store of the ledger in `+w.stores.dir, no.Error(), remedies[no])
		select {
		case err := <-in.ended:
			w.t.Fatalf("%v: it ended: %v", no, err)
		case <-time.After(5 * time.Second):
		}
		disk.fails(0)
		w.eventually("ready after "+no.Error(), func() bool { ready, _ := in.readyz(); return ready })
		w.awaitDecisions()
		in.stop()
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 5})
}

// sharedDirectory starts a second process with the identity and the directory of the
// first, which continues. The second one says why it waits, until the first has ended.
func sharedDirectory(w *world) {
	first := w.start("a")
	w.send(numbered(20, nil)...)
	w.awaitDecisions()
	second := w.start("b", func(c *config.Config) { c.InstanceID = w.name + ".a" })
	second.readyzSays("local store of the ledger in "+w.stores.dir, "end the other process with this INSTANCE_ID")
	w.send(order{id: "first"})
	w.awaitDecisions()
	first.stop()
	w.send(order{id: "second"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 22})
	w.wantOneCallPerEvent()
}
