package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"payment-capture/internal/kafkatest"
)

// machine describes the machine of a measurement.
type machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	Memory   string `json:"memory"`
	OS       string `json:"os"`
	Go       string `json:"go"`
	Kafka    string `json:"kafka"`
	FranzGo  string `json:"franz_go"`
	Revision string `json:"revision"`
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s; %s, %s, franz-go %s; revision %s",
		m.CPU, m.Cores, m.Memory, m.OS, m.Go, m.Kafka, m.FranzGo, m.Revision)
}

func thisMachine() machine {
	m := machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: field("/proc/meminfo", "MemTotal"),
		OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Kafka: kafkatest.Image(),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/twmb/franz-go" {
				m.FranzGo = d.Version
			}
		}
	}
	// Unknown outside of a repository or without git.
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil { //nolint:noctx // it ends at once
		m.Revision = strings.TrimSpace(string(out))
	}
	return m
}

// field returns the value of a name in a file of the system; "": there is none.
func field(path, name string) string {
	raw, err := os.ReadFile(path) //nolint:gosec // G304: one of the system's
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
