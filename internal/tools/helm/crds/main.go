// Command crds checks the custom resources in rendered manifests against the types of
// their operators: an unknown field, or one of a wrong type, is an error. Resources of
// Kubernetes itself are left to another validator.
//
//	crds FILE…
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// newResource returns an empty resource of an API version and kind, or nil if it is not
// a custom resource of the chart.
func newResource(version, kind string) any {
	switch version + " " + kind {
	case "keda.sh/v1alpha1 ScaledObject":
		return new(v1alpha1.ScaledObject)
	case "monitoring.coreos.com/v1 PodMonitor":
		return new(monitoring.PodMonitor)
	case "monitoring.coreos.com/v1 PrometheusRule":
		return new(monitoring.PrometheusRule)
	case "monitoring.coreos.com/v1 ServiceMonitor":
		return new(monitoring.ServiceMonitor)
	}
	return nil
}

func main() {
	checked, err := 0, error(nil)
	for _, file := range os.Args[1:] {
		n, fileErr := check(file)
		checked += n
		err = errors.Join(err, fileErr)
	}
	if err == nil && checked == 0 {
		err = errors.New("the files have no custom resources")
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err) // there is no other place to report to
		os.Exit(1)
	}
}

// check decodes the custom resources of a file and returns how many it has.
func check(file string) (checked int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	reader := documents.NewYAMLReader(bufio.NewReader(f))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return checked, nil
		}
		if err != nil {
			return checked, fmt.Errorf("%s: %w", file, err)
		}
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(document, &head); err != nil {
			return checked, fmt.Errorf("%s: %w", file, err)
		}
		resource := newResource(head.APIVersion, head.Kind)
		if resource == nil {
			continue
		}
		if err := yaml.UnmarshalStrict(document, resource); err != nil {
			return checked, fmt.Errorf("%s: %s: %w", file, head.Kind, err)
		}
		checked++
	}
}
