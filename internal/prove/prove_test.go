//go:build synctests

// Package prove puts the whole service through histories of events, faults,
// rebalances and deaths that are drawn from a seed, in virtual time, and holds
// what comes of them against its promises: docs/proving.md.
package prove

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
	histories = flag.Int("histories", 40, "how many histories are run")
	seed      = flag.Uint64("seed", 1, "what they are drawn from")
	only      = flag.Int("history", -1, "run this one history alone")
	repeat    = flag.Int("repeat", 1, "how often each history is run: the order of its goroutines is another each time")
	stopFirst = flag.Bool("stop", false, "stop at the first violation")
	show      = flag.Bool("show", false, "print histories that hold, too")
	reports   = flag.Int("reports", 3, "how many failed histories are printed in full")
	gaps      = flag.Bool("gaps", false, "draw also what the service is known not to withstand: docs/proving.md lists it")
	profile   = flag.String("profile", "", "write a CPU profile to this file")
)

// totals is the campaign's count.
type totals struct {
	mu        sync.Mutex
	began     time.Time
	histories int
	failed    int
	kinds     map[string]int
	sum       result
}

var campaign = totals{began: time.Now(), kinds: make(map[string]int)}

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
	c := &campaign
	if c.histories > 0 {
		n := time.Duration(c.histories)
		fmt.Printf("%s on %d cores; each history %s of processor time, %s of virtual time; %d of the kills at rest, %d ends by itself, %d events decided by two instances at once; %d more histories in which the fake broker's group hung\n",
			time.Since(c.began).Round(time.Second), runtime.GOMAXPROCS(0), (processorTime() / n).Round(100*time.Microsecond),
			(c.sum.virtual / n).Round(time.Millisecond), c.sum.idleKills, c.sum.exits, c.sum.atOnce, c.sum.hung)
		fmt.Printf("histories %d, kills %d, faults %d, calls %d, charges %d, violations %d\n",
			c.histories, c.sum.kills, c.sum.faults, c.sum.calls, c.sum.charges, c.failed)
	}
	os.Exit(code)
}

// processorTime is what this process has used of all cores together.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestProve runs the campaign. A history that fails is printed in full.
func TestProve(t *testing.T) {
	first, last, madeUp := 0, *histories, campaign.hung
	if *only >= 0 {
		first, last, madeUp = *only, *only+1, func() int { return 0 }
	}
	var next atomic.Int64
	next.Store(int64(first))
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				// One in which the fake broker's group hung is made up for.
				if i >= last+madeUp() || (*stopFirst && campaign.failures() > 0) {
					return
				}
				for range *repeat {
					prove(t, i)
				}
			}
		})
	}
	workers.Wait()
}

// prove runs one history and counts it.
func prove(t *testing.T, i int) {
	t.Helper()
	p := newPlan(*seed, i)
	t.Run(fmt.Sprint(i), func(t *testing.T) {
		r := run(t, p)
		n := campaign.count(r)
		if *show && r.report == "" {
			fmt.Println(p)
		}
		if len(r.violations) == 0 {
			return
		}
		t.Errorf("history %d of seed %d: %s", i, *seed, strings.Join(r.violations, "\n\t"))
		if n <= *reports {
			fmt.Printf("\n=== HISTORY %d OF SEED %d FAILED ===\n%s\n", i, *seed, r.report)
		}
	})
}

func (c *totals) failures() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *totals) hung() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sum.hung
}

// count adds a history and gives how many have failed so far.
func (c *totals) count(r result) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.sum
	if s.hung += r.hung; r.hung == 0 {
		c.histories++
	}
	s.kills, s.idleKills, s.faults = s.kills+r.kills, s.idleKills+r.idleKills, s.faults+r.faults
	s.calls, s.charges, s.virtual = s.calls+r.calls, s.charges+r.charges, s.virtual+r.virtual
	s.exits, s.atOnce = s.exits+r.exits, s.atOnce+r.atOnce
	if len(r.violations) > 0 {
		c.failed++
	}
	return c.failed
}
