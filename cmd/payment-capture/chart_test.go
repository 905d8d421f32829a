package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"payment-capture/internal/config"
)

const chart = "deploy/helm/payment-capture/"

// chartSets returns the variables that the chart's templates set.
func chartSets() []string { return []string{"ADMIN_ADDR", "INSTANCE_ID", "LEDGER_DIR"} }

// chartSchema returns the schema of the chart's values.
func chartSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(readDeploy(t, chart+"values.schema.json")))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("values.schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// chartValues returns the chart's default values, changed as Helm does: later maps are
// merged into earlier ones, and null removes a key.
func chartValues(t *testing.T, changes ...string) any {
	t.Helper()
	values := make(map[string]any)
	for _, text := range append([]string{string(readDeploy(t, chart+"values.yaml"))}, changes...) {
		var change map[string]any
		if err := yaml.Unmarshal([]byte(text), &change); err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		merge(values, change)
	}
	// Numbers as the validator expects them.
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func merge(into, change map[string]any) {
	for key, value := range change {
		inner, isMap := value.(map[string]any)
		old, wasMap := into[key].(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && wasMap:
			merge(old, inner)
		default:
			into[key] = value
		}
	}
}

// requiredValues are those without a default.
const requiredValues = `
config: {KAFKA_BROKERS: "kafka:9092", CURRENCY: MXN}
files: {MERCADOPAGO_ACCESS_TOKEN_FILE: {secret: mercadopago, key: access-token}}
`

// Each variable can be set in one place of the values.
func TestChartHasEveryVariableOnce(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties struct {
			Config, Files struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(readDeploy(t, chart+"values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	var all, inConfig, inFiles []string
	for _, row := range (config.Config{}).Table() {
		all = append(all, row.Name)
	}
	for _, name := range all {
		switch {
		case slices.Contains(chartSets(), name), slices.Contains(all, name+"_FILE"): // a secret is a file
		case strings.HasSuffix(name, "_FILE"):
			inFiles = append(inFiles, name)
		default:
			inConfig = append(inConfig, name)
		}
	}
	slices.Sort(inConfig)
	slices.Sort(inFiles)
	if diff := cmp.Diff(inConfig, slices.Sorted(maps.Keys(schema.Properties.Config.Properties))); diff != "" {
		t.Errorf("values.schema.json, config (-wanted +present):\n%s", diff)
	}
	if diff := cmp.Diff(inFiles, slices.Sorted(maps.Keys(schema.Properties.Files.Properties))); diff != "" {
		t.Errorf("values.schema.json, files (-wanted +present):\n%s", diff)
	}
	variables := manifests(t)["StatefulSet"].env()
	for _, name := range chartSets() {
		if _, ok := variables[name]; !ok {
			t.Errorf("the templates do not set %s", name)
		}
	}
	validator := chartSchema(t)
	for _, name := range all {
		if validator.Validate(chartValues(t, requiredValues, "extraEnv: [{name: "+name+", value: x}]")) == nil {
			t.Errorf("extraEnv accepts %s, which can be set elsewhere: extend its pattern in values.schema.json", name)
		}
	}
}

func TestChartAcceptsValues(t *testing.T) {
	t.Parallel()
	schema := chartSchema(t)
	for _, change := range []string{
		"",
		"simulator: true\nfiles: {MERCADOPAGO_ACCESS_TOKEN_FILE: null}",
		`config: {KAFKA_BROKERS: "[::1]:9092,b:1", CAPTURE_MAX_EVENT_AGE: "0", CAPTURE_RATE_LIMIT: 0.5, SHUTDOWN_TIMEOUT: 1h2m3s}`,
		"config: {KAFKA_START_AT: '2026-01-01T00:00:00Z', KAFKA_ACCEPT_OFFSETS: '0:12,1:3'}",
		"extraEnv: [{name: HTTPS_PROXY, valueFrom: {secretKeyRef: {name: proxy, key: url}}}, {name: LOGNAME, value: x}]",
		"podDisruptionBudget: {maxUnavailable: 50%}",
		"podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}",
	} {
		if err := schema.Validate(chartValues(t, requiredValues, change)); err != nil {
			t.Errorf("%s\n%v", change, err)
		}
	}
}

func TestChartRefusesValues(t *testing.T) {
	t.Parallel()
	schema := chartSchema(t)
	for change, where := range map[string]string{
		"config: {KAFKA_BROKERS: null}":                                 "/config",
		"config: {CURRENCY: null}":                                      "/config",
		"config: {CURRENCY: pesos}":                                     "/config/CURRENCY",
		"config: {KAFKA_BROKERS: kafka}":                                "/config/KAFKA_BROKERS",
		"config: {KAFKA_START_AT: yesterday}":                           "/config/KAFKA_START_AT",
		"config: {KAFKA_GRUOP: x}":                                      "/config",
		"config: {INSTANCE_ID: x}":                                      "/config",
		"config: {LEDGER_DIR: /tmp}":                                    "/config",
		"config: {ADMIN_ADDR: off}":                                     "/config",
		"config: {MERCADOPAGO_ACCESS_TOKEN: x}":                         "/config",
		"config: {MERCADOPAGO_ACCESS_TOKEN_FILE: /x}":                   "/config",
		"config: {SHUTDOWN_TIMEOUT: null}":                              "/config",
		"config: {SHUTDOWN_TIMEOUT: 45}":                                "/config/SHUTDOWN_TIMEOUT",
		"config: {SHUTDOWN_TIMEOUT: 1.5m}":                              "/config/SHUTDOWN_TIMEOUT",
		"config: {CAPTURE_DEADLINE: 15}":                                "/config/CAPTURE_DEADLINE",
		"config: {CAPTURE_MAX_IN_FLIGHT: 0}":                            "/config/CAPTURE_MAX_IN_FLIGHT",
		"config: {EVENT_TIME_REQUIRED: 'true'}":                         "/config/EVENT_TIME_REQUIRED",
		"files: {MERCADOPAGO_ACCESS_TOKEN_FILE: null}":                  "/files",
		"files: {MERCADOPAGO_ACCESS_TOKEN_FILE: /x}":                    "/files/MERCADOPAGO_ACCESS_TOKEN_FILE",
		"files: {KAFKA_TLS_CA_FILE: {secret: x}}":                       "/files/KAFKA_TLS_CA_FILE",
		"files: {KAFKA_TLS_CA_FILE: {secret: x, configMap: y, key: z}}": "/files/KAFKA_TLS_CA_FILE",
		"files: {CURRENCY: {secret: x, key: y}}":                        "/files",
		"replicas: 3":                                                   "",
		"replicaCount: '3'":                                             "/replicaCount",
		"image: {digest: sha256:abc}":                                   "/image/digest",
		"ledger: {volume: hostPath}":                                    "/ledger/volume",
		"ledger: {size: 10}":                                            "/ledger/size",
		"autoscaling: {enabled: true}":                                  "/autoscaling/prometheusAddress",
		"autoscaling: {minReplicas: 0}":                                 "/autoscaling/minReplicas",
		"monitoring: {monitor: true}":                                   "/monitoring/monitor",
		"podDisruptionBudget: {maxUnavailable: 0}":                      "/podDisruptionBudget/maxUnavailable",
		"podSecurityContext: {runAsNonRoot: false}":                     "/podSecurityContext/runAsNonRoot",
		"podLabels: {app.kubernetes.io/name: x}":                        "/podLabels/app.kubernetes.io~1name",
		"topologySpreadConstraints: [{topologyKey: zone}]":              "/topologySpreadConstraints/0",
		"topics: {partitions: -1}":                                      "/topics/partitions",
	} {
		err := schema.Validate(chartValues(t, requiredValues, change))
		if err == nil {
			t.Errorf("accepted: %s", change)
		} else if !strings.Contains(err.Error(), "at '"+where+"'") {
			t.Errorf("%s\ngot %v\nwant an error at %s", change, err, where)
		}
	}
}
