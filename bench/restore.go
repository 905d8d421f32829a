package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger"
)

// storeGroup is the group in the path of a ledger's store.
const storeGroup = "restore"

// restore measures the time to read the ledger, and to open its store.
func restore(ctx context.Context, s *stage) error {
	entries := 2_000_000
	if s.opts.events > 0 {
		entries = s.opts.events
	}
	for _, kind := range idKinds() {
		t, err := s.decided(ctx, 0, entries, kind)
		if err != nil {
			return err
		}
		for round := range s.opts.rounds {
			if err := s.restoreOnce(ctx, round, entries, t, kind); err != nil {
				return err
			}
		}
		if err := s.broker.drop(ctx, t.Ledger); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) restoreOnce(ctx context.Context, round, entries int, t topics, kind ids) error {
	c := s.chosen(theService)[0]
	s.runs++
	begin := time.Now()
	if err := s.broker.readAll(ctx, t.Ledger, func(*kgo.Record) {}); err != nil {
		return err
	}
	plain := time.Since(begin)
	axis := func(what string) string { return fmt.Sprintf("%s, %s", what, kind) }
	s.out.add(s, contenderNamed("copy"), round, axis("plain read"), values{
		"records_s": float64(entries) / plain.Seconds(), "took_s": plain.Seconds(),
	})
	sp := s.specFor(roleLedger, t)
	sp.Group, sp.Entries, sp.TimedIDs = storeGroup, entries, kind == timedIDs
	for _, what := range []string{"empty store", "full store"} {
		sp.Profile = ""
		if s.opts.profile != "" && what == "empty store" {
			sp.Profile, sp.Block = s.opts.profile+"/"+s.mix, s.opts.block
		}
		v, err := s.followOnce(ctx, sp)
		if err != nil {
			return err
		}
		s.out.add(s, c, round, axis(what), v)
	}
	v, err := s.readyOnce(ctx, t, sp.Dir)
	if err != nil {
		return err
	}
	s.out.add(s, c, round, axis("full store, whole service"), v)
	return s.clean(sp)
}

func (s *stage) followOnce(ctx context.Context, sp spec) (values, error) {
	p, err := start(sp)
	if err != nil {
		return nil, err
	}
	var a answer
	if sp.Profile != "" {
		if _, err := p.ask(cmdProfile); err != nil {
			return nil, errors.Join(err, p.kill())
		}
	}
	for len(a.Data) == 0 {
		if a, err = p.ask(cmdUsage); err == nil {
			err = pause(ctx, 20*time.Millisecond)
		}
		if err != nil {
			return nil, errors.Join(err, p.kill())
		}
	}
	if sp.Profile != "" {
		if _, err := p.ask(cmdProfiled); err != nil {
			return nil, errors.Join(err, p.kill())
		}
	}
	var r restored
	if err := json.Unmarshal(a.Data, &r); err != nil {
		return nil, err
	}
	_, err = p.stop()
	v := values{
		"took_s": r.Took.Seconds(), "peak_mib": mib(a.Peak), "rss_mib": mib(a.RSS), "size_mib": mib(r.Size),
		"hit_us": float64(r.Hit.Nanoseconds()) / 1000, "miss_us": float64(r.Miss.Nanoseconds()) / 1000, "cpu_s": a.CPU.Seconds(),
	}
	if r.Read > 0 {
		v["records_s"] = float64(r.Read) / r.Took.Seconds()
	}
	return v, err
}

// readyOnce starts the service on a ledger's store and waits until it is ready: it has
// read the ledger and joined the group.
func (s *stage) readyOnce(ctx context.Context, t topics, dir string) (values, error) {
	all, err := s.topicsFor(ctx, "", basePartitions)
	if err != nil {
		return nil, err
	}
	if all.Input, err = s.input(ctx, basePartitions, 0, orders{}); err != nil {
		return nil, err
	}
	all.Ledger = t.Ledger
	sp := s.specFor(roleService, all)
	sp.Dir, sp.Group = dir, storeGroup
	if sp.Admin, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	p, err := start(sp)
	if err != nil {
		return nil, err
	}
	err = s.until(ctx, p, 10*time.Millisecond, func() (bool, error) { return isReady(ctx, sp.Admin), nil })
	took := time.Since(p.started)
	if err != nil {
		return nil, errors.Join(err, p.kill())
	}
	a, err := p.ask(cmdUsage)
	if err != nil {
		return nil, errors.Join(err, p.kill())
	}
	_, err = p.stop()
	return values{"ready_s": took.Seconds(), "rss_mib": mib(a.RSS), "peak_mib": mib(a.Peak)}, err
}

func isReady(ctx context.Context, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody) //nolint:gosec // G704: a process of ours
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // G704: as above
	if err != nil {
		return false // not there yet
	}
	_ = resp.Body.Close() // only its status matters
	return resp.StatusCode == http.StatusOK
}

// sizeOf returns the size of the files below a directory.
func sizeOf(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // a file that is deleted meanwhile does not count
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // see above
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// openLedger creates the ledger as the service does, with its store in the directory of
// the service of the same group.
func openLedger(k kafka.Config, c config.Config) *ledger.Ledger {
	return ledger.New(ledger.Config{
		Kafka: k, Topic: c.TopicLedger, Dir: app.LedgerDir(c), Log: logger(), Metrics: ledger.NewMetrics(prometheus.NewRegistry()),
	})
}
