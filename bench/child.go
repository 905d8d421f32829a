package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

// childArgument as the first argument makes the process a measured one, or the API.
// Such a process reads commands from the standard input.
const childArgument = "child"

// spec configures a child.
type spec struct {
	Role     role          `json:"role"`
	Brokers  []string      `json:"brokers"`
	API      string        `json:"api"`
	Topics   topics        `json:"topics"`
	Group    string        `json:"group"`
	Instance string        `json:"instance"`
	InFlight int           `json:"in_flight"`
	Dir      string        `json:"dir"`
	NoIntent bool          `json:"no_intent"` // the service writes no attempts
	Admin    string        `json:"admin"`     // the service's admin address; "": none
	Sampler  string        `json:"sampler"`   // of the service's traces, with its argument after a space; "": traces are off
	Static   bool          `json:"static"`    // static membership
	Entries  int           `json:"entries"`   // of the ledger
	TimedIDs bool          `json:"timed_ids"` // of its events; else random ones
	PollMost int           `json:"poll_most"` // records of one poll
	Profile  string        `json:"profile"`   // directory of the profiles; "": none
	Block    bool          `json:"block"`     // block profiles too; they take a tenth of the CPU
	Latency  time.Duration `json:"latency"`
}

type role string

// topics names the topics of one run.
type topics struct {
	Input, Captured, Rejected, Parked, Ledger string
}

// The commands of a child, one per line.
const (
	cmdUsage    = "usage"    // answered by its consumption up to now
	cmdProfile  = "profile"  // the profiles begin
	cmdProfiled = "profiled" // the profiles end, and are written
	cmdStop     = "stop"     // answered when it has stopped
)

// answer is a child's, one JSON document a line.
type answer struct {
	Error string          `json:"error,omitzero"`
	CPU   time.Duration   `json:"cpu"`      // user's and system's, since the start
	Peak  int64           `json:"peak_rss"` // bytes
	RSS   int64           `json:"rss"`      // bytes, now
	Data  json.RawMessage `json:"data,omitzero"`
}

// part is the work of a child until ctx ends. Its result is in the answer to cmdStop,
// or to cmdUsage if it ended before.
type part func(ctx context.Context, s spec) (any, error)

func parts() map[role]part {
	return map[role]part{
		roleAPI: serveAPI, roleService: runService, roleLedger: followLedger,
		roleBare: runBare, roleOne: runOne, roleBatch: runBatch, roleTransaction: runTransaction, roleCopy: runCopy,
	}
}

func runChild() error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	if !in.Scan() {
		return errors.New("no spec on the standard input")
	}
	var s spec
	if err := json.Unmarshal(in.Bytes(), &s); err != nil {
		return err
	}
	do, ok := parts()[s.Role]
	if !ok {
		return fmt.Errorf("%q is not a role", s.Role)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var data any
	ended := make(chan error, 1)
	go func() {
		var err error
		data, err = do(ctx, s)
		ended <- err
	}()
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		a := consumption()
		switch in.Text() {
		case cmdUsage:
			select {
			case err := <-ended:
				ended <- err
				a = consumption().with(data, err)
			default:
			}
		case cmdProfile:
			a = a.with(nil, beginProfiles(s))
		case cmdProfiled:
			a = a.with(nil, endProfiles(s))
		case cmdStop:
			cancel()
			err := <-ended
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return out.Encode(consumption().with(data, err))
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
	return in.Err() // the parent is gone
}

func (a answer) with(data any, err error) answer {
	if err != nil {
		a.Error = err.Error()
	}
	if data != nil {
		raw, err := json.Marshal(data)
		if err != nil {
			a.Error = err.Error()
		}
		a.Data = raw
	}
	return a
}

// consumption returns the kernel's figures of the resources of this process.
func consumption() answer {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return answer{Error: err.Error()}
	}
	return answer{CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), Peak: memory("VmHWM"), RSS: memory("VmRSS")}
}

// memory returns a memory figure of this process in bytes; 0: the system does not
// report it. The peak in rusage includes the parent's.
func memory(name string) int64 {
	var kib int64
	if _, err := fmt.Sscan(field("/proc/self/status", name), &kib); err != nil {
		return 0
	}
	return kib << 10
}

func profileFile(s spec, kind string) (*os.File, error) {
	if err := os.MkdirAll(s.Profile, 0o750); err != nil {
		return nil, err
	}
	return os.Create(s.Profile + "/" + string(s.Role) + "-" + kind + ".pprof") //nolint:gosec // G304: the caller's own
}

func beginProfiles(s spec) error {
	if s.Block {
		runtime.SetBlockProfileRate(int(10 * time.Microsecond))
	}
	runtime.SetMutexProfileFraction(10)
	if err := writeProfile(s, "allocs", "allocs-before"); err != nil {
		return err
	}
	f, err := profileFile(s, "cpu")
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

func endProfiles(s spec) error {
	pprof.StopCPUProfile()
	return errors.Join(writeProfile(s, "allocs", "allocs"), writeProfile(s, "mutex", "mutex"),
		writeProfile(s, "block", "block"), writeProfile(s, "goroutine", "goroutine"))
}

func writeProfile(s spec, profile, name string) error {
	f, err := profileFile(s, name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(profile).WriteTo(f, 0), f.Close())
}
