package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is the parent's handle of a child.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	started time.Time
	ended   bool
}

func start(s spec) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	orders, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	// No context: the child ends when its standard input does.
	p := &process{cmd: exec.Command(self, childArgument)} //nolint:noctx,gosec // see above; it is this program
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(p.in, "%s\n", orders); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

// ask sends a command and returns the answer. An error of the child is returned as an
// error.
func (p *process) ask(command string) (answer, error) {
	var a answer
	if p.ended {
		return a, errors.New("the process was ended")
	}
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return a, fmt.Errorf("the measured process is gone: %w", err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return a, fmt.Errorf("the measured process is gone: %w", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// stop lets the child finish its work, and waits for it.
func (p *process) stop() (answer, error) {
	a, err := p.ask(cmdStop)
	return a, errors.Join(err, p.end())
}

// end waits for a child that has nothing more to do.
func (p *process) end() error {
	if p.ended {
		return nil
	}
	p.ended = true
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// kill ends the child as a crash would.
func (p *process) kill() error {
	if p.ended {
		return nil
	}
	p.ended = true
	err := p.cmd.Process.Kill()
	_ = p.in.Close() // it is dead
	_ = p.cmd.Wait() // returns that it was killed
	return err
}
