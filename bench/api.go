package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const roleAPI role = "api"

// api answers every charge as captured, after its latency. A call costs some
// microseconds, so the API never limits the measurement; the simulator records
// charges and costs many times that.
type api struct {
	latency   atomic.Int64
	slowEvery atomic.Int64 // one call in so many takes slowBy more; 0: none
	slowBy    atomic.Int64

	calls    atomic.Int64
	repeated atomic.Int64
	inFlight atomic.Int64
	most     atomic.Int64
	nextID   atomic.Int64
	seed     maphash.Seed
	keys     [64]keySet
}

type keySet struct {
	mu   sync.Mutex
	seen map[uint64]struct{}
}

// apiSettings configures the API for a run. Setting them resets the counters.
type apiSettings struct {
	Latency   time.Duration `json:"latency"`
	SlowEvery int64         `json:"slow_every"`
	SlowBy    time.Duration `json:"slow_by"`
}

// apiCounts counts the calls.
type apiCounts struct {
	Calls    int64         `json:"calls"`
	Repeated int64         `json:"repeated"` // calls under a key that was used before
	Most     int64         `json:"most"`     // calls at once
	CPU      time.Duration `json:"cpu"`      // of the API's process
}

const (
	chargePath = "/v1/advanced_payments"
	resetPath  = "/reset"
	countsPath = "/counts"
	tracesPath = "/v1/traces" // of a collector that drops all
)

// serveAPI runs the API's process, which prints its address in its first answer.
func serveAPI(ctx context.Context, s spec) (any, error) {
	a := &api{seed: maphash.MakeSeed()}
	a.set(apiSettings{Latency: s.Latency})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.API)
	if err != nil {
		return nil, err
	}
	server := &fasthttp.Server{Handler: a.serve, NoDefaultServerHeader: true, DisableHeaderNamesNormalizing: false}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return nil, err
	case <-ctx.Done():
		return nil, listener.Close()
	}
}

func (a *api) set(s apiSettings) {
	a.latency.Store(int64(s.Latency))
	a.slowEvery.Store(s.SlowEvery)
	a.slowBy.Store(int64(s.SlowBy))
	for i := range a.keys {
		k := &a.keys[i]
		k.mu.Lock()
		k.seen = make(map[uint64]struct{})
		k.mu.Unlock()
	}
	a.calls.Store(0)
	a.repeated.Store(0)
	a.most.Store(0)
}

func (a *api) serve(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Path()) {
	case chargePath:
		a.charge(ctx)
	case resetPath:
		var s apiSettings
		if err := json.Unmarshal(ctx.PostBody(), &s); err != nil {
			ctx.Error(err.Error(), http.StatusBadRequest)
			return
		}
		a.set(s)
	case countsPath:
		raw, err := json.Marshal(apiCounts{
			Calls: a.calls.Load(), Repeated: a.repeated.Load(), Most: a.most.Load(), CPU: consumption().CPU,
		})
		if err != nil {
			ctx.Error(err.Error(), http.StatusInternalServerError)
			return
		}
		ctx.SetBody(raw)
	case tracesPath:
		ctx.SetContentType("application/x-protobuf")
	default:
		ctx.Error("no such resource", http.StatusNotFound)
	}
}

func (a *api) charge(ctx *fasthttp.RequestCtx) {
	now := a.inFlight.Add(1)
	defer a.inFlight.Add(-1)
	if now > a.most.Load() {
		a.most.Store(now) // near enough
	}
	key := maphash.Bytes(a.seed, ctx.Request.Header.Peek("X-Idempotency-Key"))
	again := a.note(key)
	body := ctx.PostBody()
	amount := between(body, `"transaction_amount":`, ',')
	reference := between(body, `"external_reference":"`, '"')
	if len(amount) == 0 || len(reference) == 0 {
		ctx.Error("not a charge", http.StatusBadRequest)
		return
	}
	wait := time.Duration(a.latency.Load())
	if every := a.slowEvery.Load(); every > 0 && key%uint64(every) == 0 {
		wait += time.Duration(a.slowBy.Load())
	}
	if wait > 0 {
		time.Sleep(wait)
	}
	ctx.SetContentType("application/json")
	ctx.SetStatusCode(http.StatusCreated)
	if again {
		ctx.SetStatusCode(http.StatusOK)
	}
	ctx.Response.SetBodyRaw(a.captured(amount, reference))
	a.calls.Add(1)
}

// note stores a key and reports whether it was known.
func (a *api) note(key uint64) bool {
	k := &a.keys[key%uint64(len(a.keys))]
	k.mu.Lock()
	_, again := k.seen[key]
	k.seen[key] = struct{}{}
	k.mu.Unlock()
	if again {
		a.repeated.Add(1)
	}
	return again
}

// captured is the simulator's body for a captured payment.
func (a *api) captured(amount, reference []byte) []byte {
	id := 10_000_000 + a.nextID.Add(1)
	date := time.Now().UTC().Format("2006-01-02T15:04:05.000-07:00")
	b := make([]byte, 0, 640)
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, id, 10)
	b = append(b, `,"status":"approved","wallet_payment":{"transaction_amount":`...)
	b = append(b, amount...)
	b = append(b, `,"description":"An order","external_reference":"`...)
	b = append(b, reference...)
	b = append(b, `"},"payments":[{"id":`...)
	b = strconv.AppendInt(b, id+3_000_000_000, 10)
	b = append(b, `,"status":"approved","status_detail":"accredited","payment_type_id":"credit_card","payment_method_id":"visa","transaction_amount":`...)
	b = append(b, amount...)
	b = append(b, `,"installments":1,"description":"An order","capture":true,"external_reference":"`...)
	b = append(b, reference...)
	b = append(b, `"}],"disbursements":[{"collector_id":"446566691"}],"payer":{"id":700000001},"site_id":"MLM","binary_mode":true,"date_created":"`...)
	b = append(b, date...)
	b = append(b, `","date_last_updated":"`...)
	b = append(b, date...)
	return append(b, `"}`...)
}

// between returns the text after a mark, up to the end character.
func between(text []byte, mark string, end byte) []byte {
	_, rest, ok := bytes.Cut(text, []byte(mark))
	if !ok {
		return nil
	}
	found, _, ok := bytes.Cut(rest, []byte{end})
	if !ok {
		return nil
	}
	return found
}

// apiClient calls the API's process.
type apiClient struct{ base string }

func (c apiClient) reset(ctx context.Context, s apiSettings) error {
	return c.do(ctx, resetPath, s, nil)
}

func (c apiClient) counts(ctx context.Context) (apiCounts, error) {
	var counts apiCounts
	err := c.do(ctx, countsPath, nil, &counts)
	return counts, err
}

func (c apiClient) do(ctx context.Context, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // all that is wanted of it is read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: HTTP %d", path, resp.StatusCode)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
