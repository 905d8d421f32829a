package scratch_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/scratch"
)

type entry struct {
	Name  string
	Count int64
	Sum   [8]byte
}

func open(t *testing.T, o scratch.Options) *scratch.Store {
	t.Helper()
	s, err := scratch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, scratch.Options{Parent: dir})
	b := s.NewBatch()
	for i := range 3 {
		b.Set(fmt.Appendf(nil, "a%d", i), entry{"n", int64(i), [8]byte{1}})
	}
	b.Set([]byte("b"), nil)
	if n := b.Len(); n != 4 {
		t.Errorf("the batch has %d entries", n)
	}
	if err := errors.Join(b.Commit(), s.Set([]byte("c"), "text")); err != nil {
		t.Fatal(err)
	}
	b.Close()
	var got entry
	if found, err := s.Get([]byte("a2"), &got); !found || err != nil || got != (entry{"n", 2, [8]byte{1}}) {
		t.Errorf("a2: %t, %v, %+v", found, err, got)
	}
	if found, err := s.Get([]byte("b"), nil); !found || err != nil {
		t.Errorf("b: %t, %v", found, err)
	}
	if found, err := s.Get([]byte("x"), &got); found || err != nil {
		t.Errorf("x: %t, %v", found, err)
	}
	if _, err := s.Get([]byte("c"), &got); !errors.Is(err, scratch.ErrCorrupt) {
		t.Errorf("a text as an entry: %v", err)
	}
	var keys []string
	err := s.Each([]byte("a"), func(key []byte, value scratch.Value) error {
		keys = append(keys, string(key))
		return value.Decode(&got)
	})
	if err != nil || strings.Join(keys, " ") != "a0 a1 a2" {
		t.Errorf("got %q, %v", keys, err)
	}
	end := errors.New("end")
	if err := s.Each([]byte("a"), func([]byte, scratch.Value) error { return end }); !errors.Is(err, end) {
		t.Errorf("got %v", err)
	}
	if n, bytes := s.Entries(); n != 5 || bytes == 0 {
		t.Errorf("%d entries of %d bytes", n, bytes)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// fullDisk is a file system that has room for so many bytes.
type fullDisk struct {
	vfs.FS
	room *atomic.Int64
}

func (d fullDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	return fullFile{f, d.room}, err
}

type fullFile struct {
	vfs.File
	room *atomic.Int64
}

func (f fullFile) Write(p []byte) (int, error) {
	if f.room.Add(-int64(len(p))) < 0 {
		return 0, &os.PathError{Op: "write", Path: "000001.sst", Err: syscall.ENOSPC}
	}
	return f.File.Write(p)
}

// A full disk is an error that says what to do, at the start and later, and ends
// neither the process nor hangs it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, room := range []int64{0, 100, 1 << 20} {
		var left atomic.Int64
		left.Store(room)
		s, err := scratch.Open(scratch.Options{Parent: "/", Memory: 1 << 20, FS: fullDisk{vfs.NewMem(), &left}})
		if err == nil {
			value := strings.Repeat("x", 10_000)
			for i := 0; err == nil; i++ {
				if i > 10_000 {
					t.Fatalf("room for %d bytes: 100 MB were written", room)
				}
				err = s.Set(fmt.Appendf(nil, "%d", i*2654435761%(1<<32)), value+fmt.Sprint(i))
			}
			if closeErr := s.Close(); closeErr != nil {
				t.Errorf("room for %d bytes: close: %v", room, closeErr)
			}
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "scratch store in /scratch") ||
			!strings.HasSuffix(err.Error(), ": no space left on device; free space or set TMPDIR") {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

// TestTextsOfOthers: a text that is not valid UTF-8 can be stored.
func TestTextsOfOthers(t *testing.T) {
	t.Parallel()
	s, err := scratch.Open(scratch.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	type entry struct{ Reason string }
	want, got := entry{Reason: "caf\ufffd"}, entry{}
	if err := s.Set([]byte("k"), entry{Reason: "caf\xe9"}); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Get([]byte("k"), &got); err != nil || !found || got != want {
		t.Errorf("got %t, %q, %v", found, got.Reason, err)
	}
}
