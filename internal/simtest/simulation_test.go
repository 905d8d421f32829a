//go:build synctests

// Package simtest has the simulation test: it runs the whole service in virtual
// time, in many runs with generated events, fault schedules, rebalances and kills,
// and checks the promises after each run: docs/testing.md.
//
// A seed and the number of a run determine its plan (plan_test.go). The harness
// carries out the plan: it owns the fake broker, the simulated API and the
// connections of each process, at which it injects the faults. Each slot runs one
// process after another, as a supervisor does. The checks read the topics and the
// simulator's charges, never the service's own state.
package simtest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	runs      = flag.Int("runs", 40, "how many runs to make")
	seed      = flag.Uint64("seed", 1, "seed of the plans")
	only      = flag.Int("index", -1, "make only the run with this number")
	repeat    = flag.Int("repeat", 1, "how often to repeat each run, each time with another order of goroutines")
	stopFirst = flag.Bool("stop", false, "stop at the first violation")
	liveness  = flag.Bool("liveness", false, "make only runs with a permanent fault of one instance")
	show      = flag.Bool("show", false, "also print the plans of runs without a violation")
	reports   = flag.Int("reports", 3, "how many failed runs to print in full")
	profile   = flag.String("profile", "", "write a CPU profile to this file")
)

// totals counts all runs.
type totals struct {
	mu     sync.Mutex
	began  time.Time
	runs   int
	failed int
	sum    result
}

var all = totals{began: time.Now()}

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400)
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if *profile != "" {
		pprof.StopCPUProfile()
	}
	if all.runs > 0 {
		all.print()
	}
	os.Exit(code)
}

// print prints the counts. The last line is for programs.
func (t *totals) print() {
	n := time.Duration(t.runs)
	fmt.Printf("%s on %d cores; each run %s of processor time, %s of virtual time; %d kills at rest, %d unexpected exits, "+
		"%d more runs in which the fake broker's group was stuck\n",
		time.Since(t.began).Round(time.Second), runtime.GOMAXPROCS(0), (processorTime() / n).Round(100*time.Microsecond),
		(t.sum.virtual / n).Round(time.Millisecond), t.sum.idleKills, t.sum.exits, t.sum.stuck)
	fmt.Printf("runs %d, kills %d, faults %d, calls %d, charges %d, violations %d\n",
		t.runs, t.sum.kills, t.sum.faults, t.sum.calls, t.sum.charges, t.failed)
}

// processorTime returns the processor time of this process on all cores together.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestSimulation makes all runs. It prints a failed run in full.
func TestSimulation(t *testing.T) {
	first, last, extra := 0, *runs, all.stuck
	if *only >= 0 {
		first, last, extra = *only, *only+1, func() int { return 0 }
	}
	var next atomic.Int64
	next.Store(int64(first))
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				// A run in which the fake broker's group was stuck is replaced by another one.
				if i >= last+extra() || (*stopFirst && all.failures() > 0) {
					return
				}
				for range *repeat {
					simulate(t, i)
				}
			}
		})
	}
	workers.Wait()
}

// simulate makes one run and counts it.
func simulate(t *testing.T, i int) {
	t.Helper()
	p := newPlan(*seed, i)
	if *liveness || i%livenessShare == livenessShare-1 {
		p = newLivenessPlan(*seed, i)
	}
	t.Run(fmt.Sprint(i), func(t *testing.T) {
		r := run(t, p)
		n := all.count(r)
		if *show && r.report == "" {
			fmt.Println(p)
		}
		if len(r.violations) == 0 {
			return
		}
		t.Errorf("run %d of seed %d: %s", i, *seed, strings.Join(r.violations, "\n\t"))
		if n <= *reports {
			fmt.Printf("\n=== RUN %d OF SEED %d FAILED ===\n%s\n", i, *seed, r.report)
		}
	})
}

func (t *totals) failures() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *totals) stuck() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum.stuck
}

// count adds a run and returns how many have failed so far.
func (t *totals) count(r result) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.sum
	if s.stuck += r.stuck; r.stuck == 0 {
		t.runs++
	}
	s.kills, s.idleKills, s.faults = s.kills+r.kills, s.idleKills+r.idleKills, s.faults+r.faults
	s.calls, s.charges, s.virtual = s.calls+r.calls, s.charges+r.charges, s.virtual+r.virtual
	s.exits += r.exits
	if len(r.violations) > 0 {
		t.failed++
	}
	return t.failed
}
