package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/admin"
	"payment-capture/internal/config"
)

// releasingServer answers like the service that holds partition 3 alone.
func releasingServer(t *testing.T, asked *[]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.String())
		switch r.URL.RawQuery {
		case "", "partition=3":
			_, _ = fmt.Fprint(w, `{"released":[{"partition":3,"first_offset":99,"last_offset":2099,"records_waiting":2001,"reason":"invalid_event: data.amount"}]}`)
		case "partition=0":
			_, _ = fmt.Fprint(w, `{"released":null}`)
		default:
			http.Error(w, `{"error":"the service is starting; try again"}`, http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestRelease(t *testing.T) {
	var asked []string
	setEnv(t, "ADMIN_ADDR="+releasingServer(t, &asked), "HTTP_PROXY=http://localhost:1")
	const done = "partition 3: offsets 99 to 2099 are parked now; 2001 records waited; invalid_event: data.amount\n"
	if got := command(t, "release"); got.code != exitOK || got.stdout != done {
		t.Errorf("all: got %+v", got)
	}
	if got := command(t, "release", "--partition", "3"); got.code != exitOK || got.stdout != done {
		t.Errorf("one: got %+v", got)
	}
	if got := command(t, "release", "--partition", "0"); got.code != exitFailed || !strings.Contains(got.stderr, "holds none") {
		t.Errorf("one that is not held: got %+v", got)
	}
	if got := command(t, "release", "--partition", "9"); got.code != exitFailed || !strings.Contains(got.stderr, "the service is starting") {
		t.Errorf("refused: got %+v", got)
	}
	want := "POST /holds/release, POST /holds/release?partition=3, POST /holds/release?partition=0, POST /holds/release?partition=9"
	if got := strings.Join(asked, ", "); got != want {
		t.Errorf("asked %s", got)
	}
	setEnv(t, "ADMIN_ADDR=off")
	if got := command(t, "release"); got.code != exitUsage || !strings.Contains(got.stderr, "ADMIN_ADDR") {
		t.Errorf("off: got %+v", got)
	}
	if got := command(t, "release", "--partition", "three"); got.code != exitUsage {
		t.Errorf("no number: got %+v", got)
	}
}

// The commands trust the certificate of ADMIN_TLS_CERT_FILE and no other, and send the
// first token.
func TestAdminCommandsWithTLSAndToken(t *testing.T) {
	var authorization string
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
	}))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	dir := t.TempDir()
	cert, tokens := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "tokens")
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, text := range map[string][]byte{cert: own, tokens: []byte("planted-first\nplanted-second\n")} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"ADMIN_ADDR=" + server.Listener.Addr().String(), "ADMIN_TLS_CERT_FILE=" + cert, "ADMIN_TLS_KEY_FILE=" + cert}
	setEnv(t, append(env, "ADMIN_TOKENS_FILE="+tokens)...)
	if got := command(t, "healthcheck"); got.code != exitOK || authorization != "Bearer planted-first" {
		t.Errorf("got %+v, authorization %q", got, authorization)
	}
	setEnv(t, append(env, "ADMIN_TOKENS_FILE="+tokens+".missing")...)
	if got := command(t, "healthcheck"); got.code != exitUsage || !strings.Contains(got.stderr, "ADMIN_TOKENS_FILE: ") {
		t.Errorf("a missing file of tokens: got %+v", got)
	}
	setEnv(t, env...)
	if err := os.WriteFile(cert, bytes.ReplaceAll(own, []byte("CERTIFICATE"), []byte("KEY")), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := command(t, "healthcheck"); got.code != exitUsage || !strings.Contains(got.stderr, "ADMIN_TLS_CERT_FILE: ") {
		t.Errorf("no certificate: got %+v", got)
	}
}

func TestLogLevelCommand(t *testing.T) {
	var level slog.LevelVar
	server := httptest.NewServer(admin.Handler(admin.Service{
		Metrics: prometheus.NewRegistry(), Level: &level, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	setEnv(t, "ADMIN_ADDR="+server.Listener.Addr().String())
	if got := command(t, "log-level", "--set", "debug"); got.code != exitOK || level.Level() != slog.LevelDebug {
		t.Errorf("got %+v, the level is %s", got, level.Level())
	}
	if got := command(t, "log-level", "--set", "loud"); got.code != exitFailed || !strings.Contains(got.stderr, "none of debug, info") {
		t.Errorf("an unknown level: got %+v", got)
	}
	if got := command(t, "log-level"); got.code != exitUsage || !strings.Contains(got.stderr, "set") {
		t.Errorf("without a level: got %+v", got)
	}
}

// The lines are text on request, and JSON where no terminal is.
func TestLogFormat(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		config.LogText: `level=INFO msg=done took=1.5s`, config.LogJSON: `"level":"INFO","msg":"done","took":"1.5s"`,
		config.LogAuto: `"level":"INFO","msg":"done","took":"1.5s"`,
	} {
		var lines bytes.Buffer
		log := logFrom(slog.LevelInfo, format, &lines)
		log.Debug("not shown")
		log.Info("done", slog.Duration("took", 1500*time.Millisecond))
		if !strings.Contains(lines.String(), want) || strings.Count(lines.String(), "\n") != 1 {
			t.Errorf("%s: %s", format, &lines)
		}
	}
}
