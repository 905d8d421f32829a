package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
