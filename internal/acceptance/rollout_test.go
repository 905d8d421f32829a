//go:build integration

package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"payment-capture/internal/kafkatest"
)

// TestRollout updates and scales processes of the command as Kubernetes does with the
// chart's StatefulSet, while orders arrive: no call is repeated, and every event has one
// decision.
func TestRollout(t *testing.T) {
	chart := chartSettings(t)
	binary := buildBinary(t)
	broker := kafkatest.Run(t, kafkatest.ContainerOptions{})
	scenario := func(name string, run func(s *statefulSet)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &broker.Broker, 6, restless(), serveReal(t))
			s := &statefulSet{world: w, chart: chart, binary: binary}
			run(s)
			w.want(w.awaitDecisions(), map[string]int{"captured": len(w.sent)})
			w.wantOneCallPerEvent()
			s.scale(0)
		})
	}
	scenario("rolling update of three", func(s *statefulSet) {
		s.scale(3)
		stop := s.load()
		s.awaitCalls()
		s.update()
		s.awaitCalls()
		stop()
	})
	scenario("scale from one to three and back", func(s *statefulSet) {
		s.scale(1)
		stop := s.load()
		s.awaitCalls()
		s.scale(3)
		s.awaitCalls()
		s.scale(1)
		s.awaitCalls()
		stop()
	})
}

// statefulSet runs the pods of the chart's StatefulSet as processes.
type statefulSet struct {
	*world
	chart  chart
	binary string
	pods   []*pod // by ordinal
}

// chart is what the chart configures.
type chart struct {
	grace time.Duration // terminationGracePeriodSeconds
	env   []string      // the variables that have a value
}

// chartSettings reads the manifest that is generated from the chart's default values.
func chartSettings(t *testing.T) chart {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "kubernetes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var manifest struct {
			Kind string
			Spec struct {
				PodManagementPolicy string `yaml:"podManagementPolicy"`
				Template            struct {
					Spec struct {
						Grace      int `yaml:"terminationGracePeriodSeconds"`
						Containers []struct {
							Env []struct{ Name, Value string }
						}
					}
				}
			}
		}
		if err := decoder.Decode(&manifest); err != nil {
			t.Fatalf("deploy/kubernetes.yaml: no StatefulSet: %v", err)
		}
		if manifest.Kind != "StatefulSet" {
			continue
		}
		if manifest.Spec.PodManagementPolicy != "Parallel" {
			t.Fatal("deploy/kubernetes.yaml: the test starts and stops all pods at once when it scales, as Parallel does")
		}
		pod := manifest.Spec.Template.Spec
		c := chart{grace: time.Duration(pod.Grace) * time.Second}
		for _, v := range pod.Containers[0].Env {
			// Others belong to the cluster, or to the world of the test.
			if v.Name == "KAFKA_STATIC_MEMBERSHIP" || v.Name == "KAFKA_SESSION_TIMEOUT" || v.Name == "SHUTDOWN_TIMEOUT" {
				c.env = append(c.env, v.Name+"="+v.Value)
			}
		}
		t.Logf("the chart configures a grace period of %s and %q", c.grace, c.env)
		return c
	}
}

// scale starts or stops pods, all at once, and waits until they are ready or have ended.
func (s *statefulSet) scale(replicas int) {
	s.t.Helper()
	began, before := time.Now(), len(s.pods)
	for len(s.pods) < replicas {
		s.pods = append(s.pods, s.startPod(len(s.pods)))
	}
	surplus := slices.Clone(s.pods[replicas:])
	s.pods = s.pods[:replicas]
	for _, p := range surplus {
		p.terminate()
	}
	for _, p := range surplus {
		p.awaitEnd()
	}
	for _, p := range s.pods {
		p.awaitReady()
	}
	s.t.Logf("scaled from %d to %d in %.1fs", before, replicas, time.Since(began).Seconds())
}

// update replaces the pods one after the other, the highest ordinal first, and waits
// until each is ready.
func (s *statefulSet) update() {
	s.t.Helper()
	for i, old := range slices.Backward(s.pods) {
		began := time.Now()
		old.terminate()
		old.awaitEnd()
		ended := time.Since(began)
		s.pods[i] = s.startPod(i)
		s.pods[i].awaitReady()
		s.t.Logf("pod %d stopped after %.1fs, and its successor was ready after %.1fs", i, ended.Seconds(), time.Since(began).Seconds())
	}
}

// awaitCalls waits for 100 more calls, so that the load goes on between changes.
func (s *statefulSet) awaitCalls() {
	s.t.Helper()
	before := s.sim.Charges().Calls
	s.eventually("captures go on", func() bool { return s.sim.Charges().Calls >= before+100 })
}

// pod is a process.
type pod struct {
	s     *statefulSet
	name  string
	url   string
	cmd   *exec.Cmd
	ended chan struct{}
}

func (s *statefulSet) startPod(ordinal int) *pod {
	s.t.Helper()
	address := freeAddress(s.t)
	p := &pod{s: s, name: fmt.Sprintf("payment-capture-%d", ordinal), url: "http://" + address, ended: make(chan struct{})}
	p.cmd = exec.Command(s.binary, "run")
	p.cmd.Env = slices.DeleteFunc(s.environ(p.name), func(v string) bool {
		return v == "KAFKA_SESSION_TIMEOUT=6s" // that of the chart
	})
	p.cmd.Env = append(append(p.cmd.Env, s.chart.env...), "ADMIN_ADDR="+address, "LOG_LEVEL=debug")
	p.cmd.Stdout, p.cmd.Stderr = s.log, s.log
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the process state has the result
		close(p.ended)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	})
	return p
}

func (p *pod) terminate() {
	p.s.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.s.t.Errorf("%s: %v", p.name, err)
	}
}

// awaitEnd waits until the process has ended well, within the grace period.
func (p *pod) awaitEnd() {
	p.s.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(p.s.chart.grace):
		p.s.t.Fatalf("%s does not end within the grace period of %s; log:\n%s", p.name, p.s.chart.grace, p.s.log.tail())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.s.t.Errorf("%s ended after SIGTERM with %s; log:\n%s", p.name, p.cmd.ProcessState, p.s.log.tail())
	}
}

// awaitReady waits as the readiness probe does.
func (p *pod) awaitReady() {
	p.s.t.Helper()
	p.s.eventually(p.name+" is ready", func() bool {
		select {
		case <-p.ended:
			p.s.t.Fatalf("%s ended by itself with %s; log:\n%s", p.name, p.cmd.ProcessState, p.s.log.tail())
		default:
		}
		return isReady(p.s.t.Context(), p.url)
	})
}

// isReady reports whether /readyz of an admin address answers 200.
func isReady(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false // not up yet, or busy
	}
	_ = resp.Body.Close() // only the status matters
	return resp.StatusCode == http.StatusOK
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
