package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"payment-capture/internal/demo"
	"payment-capture/internal/kafka"
	"payment-capture/internal/pipeline"
)

func TestExitCode(t *testing.T) {
	t.Parallel()
	fenced := &pipeline.StoppedError{Cause: fmt.Errorf("%w: x", kafka.ErrFenced)}
	for name, test := range map[string]struct {
		err  error
		want int
	}{
		"anything":           {errors.New("anything"), 1},
		"usage":              {usageError{errors.New("--flag")}, 2},
		"usage, wrapped":     {fmt.Errorf("run: %w", usageError{errors.New("--flag")}), 2},
		"no start":           {fmt.Errorf("group: %w", kafka.ErrNoStart), 2},
		"future start":       {fmt.Errorf("group: %w", kafka.ErrFutureStart), 2},
		"unsafe start":       {fmt.Errorf("group: %w", kafka.ErrUnsafeStart), 2},
		"fenced":             {fenced, 4},
		"fenced, and closed": {errors.Join(fenced, errors.New("close")), 4},
		"not proven":         {demo.ErrNotProven, 6},
		"differs":            {fmt.Errorf("%w: 3", errDiffers), 7},
		"differs, and fails": {errors.Join(errDiffers, errors.New("the API")), 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := exitCode(test.err); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	setEnv(t)
	for name, test := range map[string]struct {
		args []string
		want string // in the error
	}{
		"unknown command":          {[]string{"capture"}, `"capture"`},
		"unknown flag":             {[]string{"run", "--fast"}, "--fast"},
		"unknown flag, no command": {[]string{"--fast"}, "--fast"},
		"flag's value":             {[]string{"demo", "--events", "many"}, "--events"},
		"argument":                 {[]string{"version", "please"}, "please"},
		"no events":                {[]string{"demo", "--events", "0"}, "--events"},
		"broker elsewhere":         {[]string{"demo", "--broker", "example.com:9092"}, "--broker"},
		"broker without a port":    {[]string{"demo", "--broker", "localhost"}, "--broker"},
		"broker's port":            {[]string{"demo", "--broker", "localhost:70000"}, "--broker"},
		"no partitions":            {[]string{"topics", "--partitions", "-1"}, "--partitions"},
		"no range":                 {[]string{"verify", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"}, "--until"},
		"since when":               {[]string{"verify", "--since", "yesterday"}, "--since"},
		"search without the API":   {[]string{"verify", "--api-search"}, "--api-search"},
		"no rate":                  {[]string{"verify", "--api-rate", "NaN"}, "--api-rate"},
		"format":                   {[]string{"verify", "--format", "xml"}, "--format"},
		"fewer than none":          {[]string{"verify", "--max-shown", "-1"}, "--max-shown"},
		"simulator's script":       {[]string{"simulator", "--script", "/missing"}, "--script"},
		"simulator's site":         {[]string{"simulator", "--site", "XXX"}, "XXX"},
		"simulator's address":      {[]string{"simulator", "--listen", "8081"}, "--listen"},
		"simulated script":         {[]string{"run", "--simulator", "--simulator-script", "/missing"}, "--simulator-script"},
		"simulated site":           {[]string{"run", "--simulator", "--simulator-site", "XXX"}, "--simulator-site"},
	} {
		t.Run(name, func(t *testing.T) {
			got := command(t, test.args...)
			if got.code != exitUsage || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
				t.Errorf("got %+v, want exit code 2 and %q", got, test.want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"run", "--help"}} {
		if got := command(t, args...); got.code != exitOK || !strings.Contains(got.stdout, "Usage:") {
			t.Errorf("%v: got %+v", args, got)
		}
	}
}

func TestVersion(t *testing.T) {
	if got := command(t, "version"); got.code != exitOK || !strings.HasPrefix(got.stdout, "payment-capture dev (go1.") {
		t.Errorf("got %+v", got)
	}
}

func TestBadConfigurationListsEverything(t *testing.T) {
	for _, args := range [][]string{{"run"}, {"config", "--check"}} {
		setEnv(t, "MERCADOPAGO_ACCESS_TOKEN="+accessToken, "KAFKA_GROUP=", "KAFKA_SASL_PASSWORD="+password, "CURENCY=MXN", "ADMIN_ADDR=nowhere")
		got := command(t, args...)
		if got.code != exitUsage || got.stdout != "" {
			t.Errorf("%v: got %+v", args, got)
		}
		for _, want := range []string{"CURRENCY: ", "KAFKA_GROUP: ", "KAFKA_SASL_MECHANISM: ", "CURENCY: ", "ADMIN_ADDR: "} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("%v: no %q in\n%s", args, want, got.stderr)
			}
		}
	}
}

func TestConfig(t *testing.T) {
	setEnv(t, "MERCADOPAGO_ACCESS_TOKEN="+accessToken, "CURRENCY=BRL")
	if got := command(t, "config"); got.code != exitOK || got.stderr != "" ||
		!strings.Contains(got.stdout, "[redacted]") || !strings.Contains(got.stdout, "BRL") {
		t.Errorf("config: got %+v", got)
	}
	if got := command(t, "config", "--check"); got.code != exitOK || got.stdout != "the configuration is valid\n" {
		t.Errorf("config --check: got %+v", got)
	}
	setEnv(t, "MERCADOPAGO_URL=https://u:"+password+"@host", "FLUSH_INTERVAL=soon", "CAPTURE_MAX_TRIES=7")
	got := command(t, "config")
	if got.code != exitOK || !strings.Contains(got.stderr, "FLUSH_INTERVAL") {
		t.Errorf("wrong: got %+v", got)
	}
	// One value that cannot be read does not hide the others.
	if !strings.Contains(got.stdout, " 7 ") || !strings.Contains(got.stdout, "order.ready_to_capture") {
		t.Errorf("wrong: the table is\n%s", got.stdout)
	}
	got = command(t, "config", "--markdown")
	if got.code != exitOK || got.stderr != "" || !strings.Contains(got.stdout, "| `CURRENCY` |") {
		t.Errorf("config --markdown: got %+v", got)
	}
}

func TestHealthcheck(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(status)
	}))
	address := server.Listener.Addr().String()
	// A proxy of the environment must not come between.
	setEnv(t, "ADMIN_ADDR="+address, "HTTP_PROXY=http://localhost:1")
	if got := command(t, "healthcheck"); got.code != exitOK {
		t.Errorf("alive: got %+v", got)
	}
	_, port, _ := strings.Cut(address, ":")
	setEnv(t, "ADMIN_ADDR=0.0.0.0:"+port)
	if got := command(t, "healthcheck"); got.code != exitOK {
		t.Errorf("at any address: got %+v", got)
	}
	status = http.StatusInternalServerError
	if got := command(t, "healthcheck"); got.code != exitFailed || !strings.Contains(got.stderr, "500") {
		t.Errorf("not well: got %+v", got)
	}
	server.Close()
	if got := command(t, "healthcheck"); got.code != exitFailed {
		t.Errorf("gone: got %+v", got)
	}
	setEnv(t, "ADMIN_ADDR=off")
	if got := command(t, "healthcheck"); got.code != exitUsage {
		t.Errorf("off: got %+v", got)
	}
}

func TestDemo(t *testing.T) {
	setEnv(t)
	got := command(t, "demo", "--events", "20", "--logs")
	if got.code != exitOK || !strings.Contains(got.stdout, "double charges") || !strings.Contains(got.stderr, `"msg":"starting"`) {
		t.Errorf("got %+v", got)
	}
}

func TestSimulatedSite(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ id, currency, want string }{
		{"", "", "MLM MXN"},
		{"MLB", "", "MLB BRL"},
		{"", "CLP", "MLC CLP"},
		{"MLB", "BRL", "MLB BRL"},
		{"MLB", "MXN", ""},
		{"XXX", "", ""},
		{"", "EUR", ""},
	} {
		site, err := simulatedSite(test.id, test.currency)
		if got := strings.TrimSpace(site.ID + " " + string(site.Currency)); got != test.want || (err == nil) == (test.want == "") {
			t.Errorf("%q, %q: got %q, %v; want %q", test.id, test.currency, got, err, test.want)
		}
	}
}
