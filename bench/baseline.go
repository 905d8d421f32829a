package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The baseline loops. They implement the happy path alone: no retries, no order per
// key, no protection against double charges. So they are faster than any loop that
// could be deployed.
const (
	roleBare        role = "bare"        // calls, and no Kafka at all
	roleOne         role = "one"         // one record at a time
	roleBatch       role = "batch"       // each poll's records at once, then produce, then commit
	roleTransaction role = "transaction" // the same in one transaction
	roleCopy        role = "copy"        // reads records and writes others in transactions; no calls
)

// loop holds what the baselines share.
type loop struct {
	spec   spec
	client *http.Client
}

func newLoop(s spec) *loop {
	return &loop{spec: s, client: &http.Client{Transport: &http.Transport{
		MaxIdleConns: s.InFlight, MaxIdleConnsPerHost: s.InFlight, DisableCompression: true,
	}}}
}

// order has the fields of an event that a baseline reads.
type order struct {
	ID   string `json:"id"`
	Data struct {
		OrderID     string     `json:"order_id"`
		Amount      string     `json:"amount"`
		Currency    string     `json:"currency"`
		Description string     `json:"description"`
		Payer       orderPayer `json:"payer"`
		_           struct{}   // no more
	} `json:"data"`
}

type orderPayer struct {
	Token string `json:"token"`
	Type  string `json:"type_token,omitempty"`
}

// charge is its request body.
type charge struct {
	Wallet struct {
		Amount      json.Number `json:"transaction_amount"`
		Description string      `json:"description"`
		Reference   string      `json:"external_reference"`
	} `json:"wallet_payment"`
	Payer      orderPayer `json:"payer"`
	BinaryMode bool       `json:"binary_mode"`
}

// payment has the fields of the answer that it reads.
type payment struct {
	ID     int64  `json:"id"`
	Status string `json:"status"`
}

// outcome is the record that it writes.
type outcome struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Subject     string `json:"subject"`
	Time        string `json:"time"`
	Data        struct {
		EventID   string `json:"event_id"`
		OrderID   string `json:"order_id"`
		Amount    string `json:"amount"`
		Currency  string `json:"currency"`
		PaymentID string `json:"payment_id"`
	} `json:"data"`
}

// handle returns the outcome of one record.
func (l *loop) handle(ctx context.Context, r *kgo.Record) (*kgo.Record, error) {
	var o order
	if err := json.Unmarshal(r.Value, &o); err != nil {
		return nil, err
	}
	var c charge
	c.Wallet.Amount, c.Wallet.Description, c.Wallet.Reference = json.Number(o.Data.Amount), o.Data.Description, o.Data.OrderID
	c.Payer = orderPayer{Token: o.Data.Payer.Token, Type: "wallet-token"}
	c.BinaryMode = true
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	raw, err := l.post(ctx, o.ID, body)
	if err != nil {
		return nil, err
	}
	var p payment
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	out := outcome{
		SpecVersion: "1.0", ID: o.ID + "/captured", Source: "/loop", Type: "payment.captured", Subject: o.Data.OrderID,
		Time: time.Now().UTC().Format(time.RFC3339Nano),
	}
	out.Data.EventID, out.Data.OrderID, out.Data.Amount, out.Data.Currency = o.ID, o.Data.OrderID, o.Data.Amount, o.Data.Currency
	out.Data.PaymentID = strconv.FormatInt(p.ID, 10)
	value, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return &kgo.Record{Topic: l.spec.Topics.Captured, Key: r.Key, Value: value}, nil
}

// post makes one charge and returns the answer's body.
func (l *loop) post(ctx context.Context, key string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.spec.API+chargePath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+accessToken)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Idempotency-Key", key)
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is read to its end
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", resp.StatusCode, raw)
	}
	return raw, err
}

// all handles the records concurrently.
func (l *loop) all(ctx context.Context, records []*kgo.Record) ([]*kgo.Record, error) {
	out := make([]*kgo.Record, len(records))
	failed := make([]error, len(records))
	var running sync.WaitGroup
	for i, r := range records {
		running.Go(func() { out[i], failed[i] = l.handle(ctx, r) })
	}
	running.Wait()
	return out, errors.Join(failed...)
}

// runBare calls the API from as many goroutines as calls are allowed at once. The
// bodies are prepared before.
func runBare(ctx context.Context, s spec) (any, error) {
	l := newLoop(s)
	var next atomic.Uint64
	var running sync.WaitGroup
	failed := make([]error, s.InFlight)
	for i := range failed {
		running.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				body := fmt.Appendf(nil, `{"wallet_payment":{"transaction_amount":700.50,"description":"An order","external_reference":"order-%d"},`+
					`"payer":{"token":"%032x","type_token":"wallet-token"},"binary_mode":true}`, n, n)
				if _, err := l.post(ctx, eventID(n), body); err != nil && ctx.Err() == nil {
					failed[i] = err
					return
				}
			}
		})
	}
	running.Wait()
	return nil, errors.Join(failed...)
}
