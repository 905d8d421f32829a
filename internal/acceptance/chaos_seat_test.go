//go:build integration && chaos

package acceptance

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"
)

// seat is an identity, INSTANCE_ID, under which processes run one after the other, or
// two at once if a fault wants that. It restarts a process that ends by itself, as an
// orchestrator does.
type seat struct {
	c      *chaos
	name   string
	binary string
	env    []string

	mu      sync.Mutex
	running []*process
	starts  int
	empty   bool // no process must run now
	watches sync.WaitGroup
}

// process is a process of the command.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	signal syscall.Signal // the signal that the test sent; 0: none
}

// exitFenced is the exit code if another process has the same INSTANCE_ID.
const exitFenced = 4

// newSeat starts the first process of an instance.
func newSeat(c *chaos, i int, binary string) *seat {
	s := &seat{c: c, name: string(rune('a' + i)), binary: binary}
	s.env = append(c.environ(s.name), "KAFKA_BROKERS="+c.broker.Routes[i].Proxy, fmt.Sprintf("KAFKA_STATIC_MEMBERSHIP=%t", c.static),
		"MERCADOPAGO_TIMEOUT=3s", "SHUTDOWN_TIMEOUT=15s", "CAPTURE_MAX_IN_FLIGHT=64", "LOG_LEVEL=debug",
		// The next owner looks up the attempt of a killed one and may be killed too; all
		// within the patience of the run.
		"CAPTURE_RECONCILE_FOR=10s")
	c.t.Cleanup(func() {
		s.down(syscall.SIGKILL)
		s.watches.Wait()
	})
	s.start()
	return s
}

// start starts a process. Its output goes to the world's log and to a file.
func (s *seat) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked()
}

func (s *seat) startLocked() {
	s.starts++
	file, err := os.Create(filepath.Join(s.c.t.ArtifactDir(), fmt.Sprintf("%s-%d.log", s.name, s.starts)))
	if err != nil {
		s.c.t.Errorf("log of instance %s: %v", s.name, err)
		return
	}
	p := &process{cmd: exec.Command(s.binary, "run"), ended: make(chan struct{})}
	out := io.MultiWriter(file, s.c.log)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.env, out, out
	if err := p.cmd.Start(); err != nil {
		s.c.t.Errorf("start instance %s: %v", s.name, err)
		return
	}
	s.running = append(s.running, p)
	s.watches.Go(func() {
		_ = p.cmd.Wait() // the process state has the result
		_ = file.Close()
		s.endedBy(p)
		close(p.ended)
	})
}

// endedBy checks how a process ended, and starts another one if none is left.
func (s *seat) endedBy(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = slices.DeleteFunc(s.running, func(other *process) bool { return other == p })
	code := p.cmd.ProcessState.ExitCode()
	switch {
	case p.signal == syscall.SIGKILL, p.signal == syscall.SIGTERM && code == 0:
	case code == exitFenced:
		s.c.did("fenced", "%s: fenced by another process of its identity", s.name)
	case p.signal == syscall.SIGTERM && code == 1:
		// The process could not find out how its last transaction ended.
		s.c.did("unclean", "%s: stopped with exit code 1", s.name)
	default:
		s.c.t.Errorf("instance %s ended by itself (%s); log:\n%s", s.name, p.cmd.ProcessState, s.c.log.tail())
	}
	if len(s.running) == 0 && !s.empty {
		s.startLocked()
	}
}

// down sends a signal to the processes and waits until they have ended.
func (s *seat) down(signal syscall.Signal) {
	s.mu.Lock()
	s.empty = true
	running := slices.Clone(s.running)
	for _, p := range running {
		p.signal = signal
		_ = p.cmd.Process.Signal(signal) // the process may have ended
	}
	s.mu.Unlock()
	for _, p := range running {
		select {
		case <-p.ended:
		case <-time.After(time.Minute):
			s.c.t.Errorf("instance %s does not end after %s; log:\n%s", s.name, signal, s.c.log.tail())
			s.mu.Lock()
			p.signal = syscall.SIGKILL
			_ = p.cmd.Process.Kill()
			s.mu.Unlock()
			<-p.ended
		}
	}
}

// up starts a process after down.
func (s *seat) up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.empty = false
	s.startLocked()
}

// suspend suspends the processes until wake is called.
func (s *seat) suspend() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.running {
		_ = p.cmd.Process.Signal(syscall.SIGSTOP) // the process may have ended
	}
	return slices.Clone(s.running)
}

func wake(suspended []*process) {
	for _, p := range suspended {
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // the process may have ended
	}
}

// mustRun waits until a process runs.
func (s *seat) mustRun() {
	s.c.t.Helper()
	s.c.eventually("a process of instance "+s.name+" runs", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.running) > 0
	})
}

// raceFlags returns the build flags for the race detector if the test is built with it.
func raceFlags() []string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				return []string{"-race"}
			}
		}
	}
	return nil
}
