package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"payment-capture/internal/config"
)

// manifest is what these tests read of a Kubernetes manifest.
type manifest struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds int `yaml:"terminationGracePeriodSeconds"`
				Containers                    []struct {
					Args            []string
					Env             []struct{ Name, Value string }
					VolumeMounts    []mount `yaml:"volumeMounts"`
					SecurityContext struct {
						ReadOnlyRootFilesystem bool `yaml:"readOnlyRootFilesystem"`
					} `yaml:"securityContext"`
				}
				Volumes []struct{ Name string }
			}
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
	}
}

type mount struct {
	Name      string
	MountPath string `yaml:"mountPath"`
	ReadOnly  bool   `yaml:"readOnly"`
}

// env returns the variables of the only container; one that comes from the pod is empty.
func (m manifest) env() map[string]string {
	variables := make(map[string]string)
	for _, e := range m.Spec.Template.Spec.Containers[0].Env {
		variables[e.Name] = e.Value
	}
	return variables
}

func readDeploy(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	found := make(map[string]manifest)
	decoder := yaml.NewDecoder(bytes.NewReader(readDeploy(t, "deploy/kubernetes.yaml")))
	for {
		var m manifest
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[m.Kind] = m
	}
}

// imageLedgerDir is LEDGER_DIR in the image.
func imageLedgerDir(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^ENV .*\bLEDGER_DIR=(\S+)$`).FindSubmatch(readDeploy(t, "deploy/Dockerfile"))
	if found == nil {
		t.Fatal("the Dockerfile sets no LEDGER_DIR")
	}
	return string(found[1])
}

// The image's file system is read-only in the example: what is not on a volume
// cannot be written, and what is on no claim is lost with the pod.
func TestKubernetesKeepsTheLedgerOnAClaim(t *testing.T) {
	t.Parallel()
	m := manifests(t)["StatefulSet"]
	dir := m.env()["LEDGER_DIR"]
	if image := imageLedgerDir(t); dir != image {
		t.Errorf("LEDGER_DIR is %q, and %q in the image, whose user owns that alone", dir, image)
	}
	claims := make(map[string]bool)
	for _, c := range m.Spec.VolumeClaimTemplates {
		claims[c.Metadata.Name] = true
	}
	container := m.Spec.Template.Spec.Containers[0]
	if !container.SecurityContext.ReadOnlyRootFilesystem {
		t.Error("the root file system is writable")
	}
	var ledger, tmp bool
	for _, m := range container.VolumeMounts {
		switch {
		case m.ReadOnly:
		case filepath.Dir(dir) == m.MountPath:
			ledger = claims[m.Name]
		case m.MountPath == "/tmp":
			tmp = true
		}
	}
	if !ledger {
		t.Errorf("%s is on no claim: %+v", dir, container.VolumeMounts)
	}
	if !tmp {
		t.Errorf("there is no /tmp for the ledger commands: %+v", container.VolumeMounts)
	}
}

// The service accepts the manifest, and is not killed while it stops.
func TestKubernetesConfiguresTheService(t *testing.T) {
	m := manifests(t)["StatefulSet"]
	var variables []string
	for name, value := range m.env() {
		variables = append(variables, name+"="+value)
	}
	setEnv(t, variables...)
	c, err := config.Read()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for _, row := range c.Table() {
		known[row.Name] = true
	}
	for name := range m.env() {
		if !known[name] {
			t.Errorf("%s is no variable of the service", name)
		}
	}
	grace := time.Duration(m.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
	if want := c.ShutdownTimeout + 15*time.Second; grace != want {
		t.Errorf("the pod is killed %s after its end began, want %s", grace, want)
	}
}

func TestComposeKeepsTheLedgerOnAVolume(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Volumes, Tmpfs []string
			ReadOnly       bool `yaml:"read_only"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(readDeploy(t, "docker-compose.yml"), &compose); err != nil {
		t.Fatal(err)
	}
	service := compose.Services["payment-capture"]
	if !service.ReadOnly || len(service.Volumes) != 1 || len(service.Tmpfs) != 1 || service.Tmpfs[0] != "/tmp" {
		t.Fatalf("got %+v", service)
	}
	name, path, _ := strings.Cut(service.Volumes[0], ":")
	if _, ok := compose.Volumes[name]; !ok || path != filepath.Dir(imageLedgerDir(t)) {
		t.Errorf("volume %s of %v is not where the image has LEDGER_DIR", service.Volumes[0], compose.Volumes)
	}
}
