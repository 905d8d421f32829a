package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// The canaries: each is recognisable, and nothing that the service shows may have one.
const (
	canaryAccess   = "APP_USR-canary-7f3a-access-token"
	canaryPayer    = "canary-81bd-payer-token"
	canaryPassword = "canary-c05e-sasl-password"
	canaryAdmin    = "canary-4d19-admin-token"
	canarySession  = "canary-2e6b-device-session"
	canaryText     = "Canary a94c: a description"
)

// places are what the service shows, by name. A new place, such as exported traces, is
// one more entry.
type places map[string][]byte

// search reports each canary in a place, as it is or in a usual encoding. A place may
// have some by its purpose: allowed names them.
func (p places) search(t *testing.T, allowed map[string][]string) {
	t.Helper()
	for name, content := range p {
		if len(content) == 0 {
			t.Errorf("place %s is empty, so it proves nothing", name)
		}
		for _, canary := range []string{canaryAccess, canaryPayer, canaryPassword, canaryAdmin, canarySession, canaryText} {
			quoted, err := json.Marshal(canary)
			if err != nil {
				t.Fatal(err)
			}
			found := ""
			for _, form := range []string{
				canary, string(quoted), url.QueryEscape(canary), url.PathEscape(canary), hex.EncodeToString([]byte(canary)),
				base64.StdEncoding.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)),
			} {
				if at := bytes.Index(bytes.ToLower(content), bytes.ToLower([]byte(form))); at >= 0 {
					found = string(content[max(0, at-200):min(len(content), at+200)])
				}
			}
			isAllowed := false
			for _, one := range allowed[name] {
				isAllowed = isAllowed || one == canary
			}
			switch {
			case found != "" && !isAllowed:
				t.Errorf("%s shows %q: …%s…", name, canary, found)
			case found == "" && isAllowed:
				t.Errorf("%s may have %q and has not: remove it from what is allowed", name, canary)
			}
		}
	}
}

// echoing is an API that repeats the whole request in its error to orders whose reference
// is echo-<status>, once each, as JSON or as a page.
func echoing(t *testing.T, api http.Handler) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		_, reference, _ := bytes.Cut(body, []byte(`"external_reference":"echo-`))
		var status int
		if _, err := fmt.Sscanf(string(reference), "%d", &status); err != nil {
			api.ServeHTTP(w, r)
			return
		}
		echo := fmt.Sprintf("%s %s %s and %s", r.Header.Get("Authorization"), r.Header.Get("X-Meli-Session-Id"), body, url.QueryEscape(string(body)))
		w.Header().Set("X-Request-Id", canaryAccess)
		w.Header().Set("Retry-After", canarySession)
		if bytes.Contains(body, []byte("-html")) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>"+echo)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"message": echo, "error": canaryPayer, "status": canaryText, "id": canaryPayer, "cause": []any{map[string]any{"description": echo, "code": canarySession}},
		})
	})
}

// canaryOrders are records with canaries wherever a producer may put them.
func canaryOrders() [][]byte {
	data := func(id, amount, more string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"%s","source":"/test","type":"order.ready_to_capture","time":"%s","data":{"order_id":"%[1]s",`+
			`"amount":%[3]s,"currency":"MXN","description":"%[4]s","device_session_id":"%[5]s","payer":{"token":"%[6]s"}%[7]s}}`,
			id, time.Now().UTC().Format(time.RFC3339), amount, canaryText, canarySession, canaryPayer, more)
	}
	var all [][]byte
	for _, value := range []string{
		data("good", `"700.50"`, ""),
		strings.Replace(data("poor", `"700.50"`, ""), canaryPayer, canaryPayer+"-poor", 1),
		data("echo-400", `"1.00"`, ""), data("echo-404-html", `"1.00"`, ""), data("echo-422", `"1.00"`, ""),
		// Not valid: each has the canaries where the fault is.
		data("wrong-amount", `"`+canaryPayer+`"`, ""), data("wrong-object", `{"`+canaryPayer+`":"`+canaryText+`"}`, ""),
		strings.Replace(data("wrong-currency", `"1.00"`, ""), `"MXN"`, `"`+canaryPayer+`"`, 1),
		strings.Replace(data("wrong-payer", `"1.00"`, ""), `{"token":"`+canaryPayer+`"}`, `"`+canaryPayer+`"`, 1),
		data("wrong-reference", `"1.00"`, `,"external_reference":"`+canaryText+`"`),
		data("wrong-member", `"1.00"`, `,"sub_merchant":{"`+canaryPayer+`":"`+canaryText+`"}`),
		strings.Replace(data("wrong-time", `"1.00"`, ""), `"time":"`, `"time":"`+canaryPayer, 1),
		strings.Replace(data("no-quote", `"1.00"`, ""), canaryPayer+`"`, canaryPayer, 1),
		canaryPayer + " " + canaryText + " " + canarySession + " " + canaryAccess,
		data("cut", `"1.00"`, "")[:300],
	} {
		all = append(all, []byte(value))
	}
	return all
}

// TestCanaries puts canaries into every input and searches everything that the service
// shows for them.
func TestCanaries(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Fake(t, kfake.SeedTopics(1, "orders", "captured", "rejected", "parked"))
	broker.Compacted(t, "ledger", 1)
	sim, err := simulator.New(simulator.Config{AccessToken: canaryAccess, Script: simulator.Script{
		Payers: []simulator.Payer{{Token: canaryPayer + "-poor", Balance: "1.00"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(echoing(t, sim))
	t.Cleanup(api.Close)
	dir := t.TempDir()
	conf := good(broker.Addresses, api.URL)
	conf.MercadoPagoAccessToken, conf.LedgerDir, conf.CaptureRefusalRun = secret.New(canaryAccess), filepath.Join(dir, "ledger"), 0
	conf.AdminTokensFile, conf.CaptureMaxTries = filepath.Join(dir, "tokens"), 2
	if err := os.WriteFile(conf.AdminTokensFile, []byte(canaryAdmin), 0o600); err != nil {
		t.Fatal(err)
	}
	conf.AdminWithoutToken = []string{"/livez"}
	var log logBuffer
	service, err := app.New(app.Options{
		Config: conf, Version: "test", DialKafka: broker.Dial,
		Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()

	shown := canaryOutcomes(t, broker)
	for _, path := range []string{"/livez", "/readyz", "/status", "/metrics", "/nothing"} {
		for name, authorization := range map[string]string{"": canaryAdmin, " refused": canaryAdmin + canaryPassword} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set("Authorization", "Bearer "+authorization)
			recorder := httptest.NewRecorder()
			service.Handler().ServeHTTP(recorder, r)
			shown[path+name] = fmt.Append(nil, recorder.Code, recorder.Header(), recorder.Body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("the service stopped with %v", err)
	}
	shown["log"] = []byte(log.String())
	shown["local store"] = files(t, conf.LedgerDir)
	shown["errors of the configuration"] = wrongConfigurations(t, conf)
	// As a panic or a careless log line would print it.
	shown["configuration"] = fmt.Appendf(nil, "%v %v %+v %#v", conf.Table(), conf, conf, conf)
	// Otherwise no echo of the API reached them.
	for _, name := range []string{"log", "parked headers"} {
		if !bytes.Contains(shown[name], []byte("Bearer "+secret.Redacted)) {
			t.Errorf("%s has no error of the API", name)
		}
	}
	// A parked record keeps the input's own value, for the operator who corrects it.
	for _, name := range []string{"captured values", "rejected values", "parked values", "parked headers", "ledger values"} {
		if _, ok := shown[name]; !ok {
			t.Errorf("there are no %s", name)
		}
	}
	shown.search(t, map[string][]string{"parked values": {canaryPayer, canarySession, canaryText, canaryAccess}})
}

// canaryOutcomes sends the orders, waits until each is decided and returns what the
// outcome topics and the ledger have.
func canaryOutcomes(t *testing.T, broker *kafkatest.Broker) places {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addresses...), kgo.Dialer(broker.Dial),
		kgo.ConsumeTopics("captured", "rejected", "parked", "ledger"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	orders := canaryOrders()
	for _, value := range orders {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	shown, decided := places{}, 0
	for decided < len(orders) {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d decisions: %v", decided, len(orders), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Topic != "ledger" {
				decided++
			}
			name := r.Topic + " values"
			shown[name] = append(append(shown[name], r.Value...), '\n')
			for _, h := range r.Headers {
				name := r.Topic + " headers"
				shown[name] = fmt.Appendf(shown[name], "%s: %s\n", h.Key, h.Value)
			}
		})
	}
	return shown
}

// files returns the content and names of all files below a directory.
func files(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		all = append(all, path...)
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, content...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wrongConfigurations returns the errors of configurations with secrets in the wrong
// place.
func wrongConfigurations(t *testing.T, good config.Config) []byte {
	t.Helper()
	var all []byte
	for _, change := range []func(*config.Config){
		func(c *config.Config) { c.MercadoPagoURL = "https://u:" + canaryPassword + "@host" },
		func(c *config.Config) {
			c.KafkaSASLMechanism, c.KafkaSASLPassword = "GSSAPI", secret.New(canaryPassword)
		},
		func(c *config.Config) { c.AdminTLSCert, c.AdminTLSKey = c.AdminTokensFile, c.AdminTokensFile },
		func(c *config.Config) { c.MercadoPagoCA = c.AdminTokensFile },
		func(c *config.Config) { c.KafkaTLS, c.KafkaTLSCA = true, c.AdminTokensFile },
	} {
		c := good
		change(&c)
		_, err := app.New(app.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			t.Error("a wrong configuration was accepted")
		}
		all = fmt.Appendln(all, err)
	}
	return all
}
