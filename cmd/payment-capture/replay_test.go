package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

const (
	replayInput  = "order.ready_to_capture"
	replayParked = "payment-capture.parked"
)

// newReplayWorld has a ledger, an input with so many events, and the parked
// topic. The events' payer token is a planted secret.
func newReplayWorld(t *testing.T, events int) *ledgerWorld {
	t.Helper()
	w := newLedgerWorld(t, "CURRENCY=MXN")
	w.fill()
	admin := kadm.NewClient(w.client)
	if _, err := admin.CreateTopics(t.Context(), 2, 1, nil, replayInput, replayParked); err != nil {
		t.Fatal(err)
	}
	var rs []*kgo.Record
	for i := range events {
		rs = append(rs, &kgo.Record{Topic: replayInput, Partition: int32(i % 2), Value: replayEvent(fmt.Sprintf("e%d", i))})
	}
	if err := w.client.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return w
}

func replayEvent(id string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/orders","type":"order.ready_to_capture","time":%q,"data":{"order_id":"order-%s",`+
		`"amount":"10.00","currency":"MXN","description":"d","payer":{"token":"planted-payer-token"}}}`, id, time.Now().UTC().Format(time.RFC3339), id)
}

// inInput returns how many records the input has.
func (w *ledgerWorld) inInput() int64 {
	w.t.Helper()
	ends, err := kadm.NewClient(w.client).ListEndOffsets(w.t.Context(), replayInput)
	if err != nil {
		w.t.Fatal(err)
	}
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

func TestReplayUsageErrors(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.json")
	for name, test := range map[string]struct {
		args      []string
		variables []string
		want      string
	}{
		"nothing chosen":     {nil, nil, "--all"},
		"a time":             {[]string{"--since", "yesterday"}, nil, "--since"},
		"a partition":        {[]string{"--partition", "one"}, nil, "--partition"},
		"a rate":             {[]string{"--all", "--rate", "-1"}, nil, "--rate"},
		"no number":          {[]string{"--all", "--rate", "NaN"}, nil, "--rate"},
		"a partitioner":      {[]string{"--all", "--partitioner", "random"}, nil, "--partitioner"},
		"no state":           {[]string{"--all", "--state", ""}, nil, "--state"},
		"JSON":               {[]string{"--all", "--json"}, nil, "--json"},
		"parked alone":       {[]string{"--parked"}, nil, "--all"},
		"parked, and resume": {[]string{"--parked", "--resume"}, nil, "--all"},
		"an argument":        {[]string{"--all", "please"}, nil, "please"},
		"no currency":        {[]string{"--all"}, []string{"CURRENCY="}, "CURRENCY"},
		"once per":           {[]string{"--all"}, []string{"CAPTURE_ONCE_PER=order"}, "CAPTURE_ONCE_PER"},
		"age":                {[]string{"--all"}, []string{"CAPTURE_MAX_EVENT_AGE=-1s"}, "CAPTURE_MAX_EVENT_AGE"},
		"lead":               {[]string{"--all"}, []string{"CAPTURE_MAX_EVENT_LEAD=-1s"}, "CAPTURE_MAX_EVENT_LEAD"},
		"horizon":            {[]string{"--all"}, []string{"IDEMPOTENCY_KEY_HORIZON=0s"}, "IDEMPOTENCY_KEY_HORIZON"},
		"brokers":            {[]string{"--all"}, []string{"KAFKA_BROKERS="}, "KAFKA_BROKERS"},
	} {
		t.Run(name, func(t *testing.T) {
			setEnv(t, append([]string{"CURRENCY=MXN"}, test.variables...)...)
			args := append([]string{"replay"}, test.args...)
			if name != "no state" {
				args = append(args, "--state", state)
			}
			got := command(t, args...)
			if got.code != exitUsage || !strings.Contains(got.stderr, test.want) || got.stdout != "" {
				t.Errorf("got %+v, want exit code 2 and %q", got, test.want)
			}
		})
	}
}

// TestReplay goes all the way: it says what would be, sends nothing without
// leave, and sends what it said.
func TestReplay(t *testing.T) {
	w := newReplayWorld(t, 4)
	state := filepath.Join(t.TempDir(), "state.json")
	planned := commands(t, []string{"replay", "--all", "--dry-run", "--state", state},
		[]string{"replay", "--all", "--dry-run", "--json", "--state", state}, []string{"replay", "--all", "--state", state})
	dry, asJSON, refused := planned[0], planned[1], planned[2]
	if dry.code != exitOK || !strings.Contains(dry.stdout, "CAPTURED FOR THE FIRST TIME") || !strings.Contains(dry.stdout, "MXN 40.00") {
		t.Errorf("dry run: got %+v", dry)
	}
	var plan struct {
		Send    int `json:"send"`
		Classes []struct {
			Class string            `json:"class"`
			Money map[string]string `json:"money"`
		} `json:"classes"`
	}
	if err := json.Unmarshal([]byte(asJSON.stdout), &plan); err != nil || plan.Send != 4 || len(plan.Classes) != 1 ||
		plan.Classes[0].Class != "first_capture" || plan.Classes[0].Money["MXN"] != "40.00" {
		t.Errorf("JSON: %v, %+v of %+v", err, plan, asJSON)
	}
	if refused.code != exitUsage || !strings.Contains(refused.stderr, "--yes") || !strings.Contains(refused.stderr, "MXN 40.00") {
		t.Errorf("without --yes: got %+v", refused)
	}
	if n := w.inInput(); n != 4 {
		t.Errorf("%d records are there, want 4: nothing was to be sent", n)
	}
	if got := command(t, "replay", "--event", "e1", "--order", "order-e1", "--yes", "--state", state); got.code != exitOK ||
		!strings.Contains(got.stdout, "1 records are sent") {
		t.Errorf("one event: got %+v", got)
	}
	if got := command(t, "replay", "--event", "nobody's", "--state", state); got.code != exitOK ||
		!strings.Contains(got.stdout, "nothing to send") {
		t.Errorf("no event: got %+v", got)
	}
	if got := command(t, "replay", "--all", "--yes", "--rate", "0", "--state", state); got.code != exitOK {
		t.Errorf("all: got %+v", got)
	}
	if n := w.inInput(); n != 10 {
		t.Errorf("%d records are there, want 4, 1 and 5", n)
	}
	if got := command(t, "replay", "--partition", "7", "--state", state); got.code != exitUsage || !strings.Contains(got.stderr, "7") {
		t.Errorf("no such partition: got %+v", got)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the state: %v", err)
	}
	w.leavesNothing()
}

// TestReplayWithoutAsking: what calls nobody needs no leave.
func TestReplayWithoutAsking(t *testing.T) {
	w := newReplayWorld(t, 0)
	r := &kgo.Record{Topic: replayInput, Value: replayEvent("captured")}
	if err := w.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := command(t, "replay", "--all", "--state", filepath.Join(t.TempDir(), "s"))
	if got.code != exitOK || !strings.Contains(got.stdout, "answered from the ledger: captured") || w.inInput() != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestReplayParked(t *testing.T) {
	w := newReplayWorld(t, 0)
	m := event.EncodeParked(event.Message{Value: replayEvent("parked")}, event.Position{Topic: replayInput, Partition: 1},
		&event.ParkInfo{Reason: event.ParkUndecided})
	r := &kgo.Record{Topic: replayParked, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if err := w.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	foreign := &kgo.Record{Topic: replayParked, Value: []byte("hi")}
	damaged := &kgo.Record{
		Topic: replayParked, Value: replayEvent("damaged"),
		Headers: []kgo.RecordHeader{{Key: "parked_reason", Value: []byte("undecided")}},
	}
	if err := w.client.ProduceSync(t.Context(), foreign, damaged).FirstErr(); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "s")
	if got := command(t, "replay", "--parked", "--event", "nobody's", "--dry-run", "--state", state); got.code != exitOK ||
		!strings.Contains(got.stdout, "none of the 3 records that were read is selected") {
		t.Errorf("nobody's event: got %+v", got)
	}
	if got := command(t, "replay", "--parked", "--event", "damaged", "--dry-run", "--state", state); got.code != exitOK ||
		!strings.Contains(got.stdout, "not a parked record") {
		t.Errorf("a damaged parked record: got %+v", got)
	}
	if got := command(t, "replay", "--parked", "--all", "--yes", "--state", filepath.Join(state, "nowhere")); got.code != exitFailed ||
		!strings.Contains(got.stderr, "name a writable file with --state") || w.inInput() != 0 {
		t.Errorf("a state file that cannot be written: got %+v", got)
	}
	if got := command(t, "replay", "--parked", "--reason", "too_old", "--yes", "--state", state); got.code != exitOK || w.inInput() != 0 {
		t.Errorf("another reason: got %+v", got)
	}
	if got := command(t, "replay", "--parked", "--all", "--yes", "--state", state); got.code != exitOK || w.inInput() != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestReplayIsInterruptedAndResumed interrupts a replay by SIGINT and resumes it.
func TestReplayIsInterruptedAndResumed(t *testing.T) {
	w := newReplayWorld(t, 20)
	state := filepath.Join(t.TempDir(), "state.json")
	before := w.inInput()
	ended := make(chan result, 1)
	go func() { ended <- command(t, "replay", "--all", "--yes", "--rate", "5", "--state", state) }()
	w.client.AddConsumeTopics(replayInput)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for seen := int64(0); seen < before+3; {
		fetches := w.client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("of %d records %d are there: %v", before+3, seen, err)
		}
		seen += int64(fetches.NumRecords())
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	got := <-ended
	if got.code != exitFailed || !strings.Contains(got.stderr, "interrupted") || !strings.Contains(got.stderr, "--resume --state "+state) {
		t.Errorf("got %+v", got)
	}
	if got := command(t, "replay", "--all", "--yes", "--state", state); got.code != exitUsage || !strings.Contains(got.stderr, "--resume") {
		t.Errorf("a new run: got %+v", got)
	}
	if got := command(t, "replay", "--resume", "--order", "o", "--state", state); got.code != exitUsage ||
		!strings.Contains(got.stderr, "select the same") {
		t.Errorf("another selection: got %+v", got)
	}
	if got := command(t, "replay", "--resume", "--yes", "--rate", "0", "--state", state); got.code != exitOK ||
		!strings.Contains(got.stdout, "20 records are sent") {
		t.Errorf("resumed: got %+v", got)
	}
	if n := w.inInput(); n != before+20 {
		t.Errorf("%d records were sent, want 20", n-before)
	}
	if got := command(t, "replay", "--resume", "--state", state); got.code != exitUsage || !strings.Contains(got.stderr, "nothing to resume") {
		t.Errorf("resumed again: got %+v", got)
	}
	w.leavesNothing()
}
