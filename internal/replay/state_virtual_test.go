//go:build synctests

package replay

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestResumeIsRefused if the run would be another one. A new run is refused if an
// unfinished one would be lost.
func TestResumeIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(6)
		c := w.config(Selection{Orders: []string{"order-e1", "order-e2"}})
		r := w.open(c)
		if err := r.state.write(w.state); err != nil {
			t.Fatal(err)
		}
		w.close(r)
		saved, err := os.ReadFile(w.state)
		if err != nil {
			t.Fatal(err)
		}
		refused := func(name string, want error, text string, change func(*Config)) {
			t.Helper()
			other := c
			other.Resume = true
			change(&other)
			run, err := New(t.Context(), other)
			if err == nil {
				w.close(run)
			}
			if err == nil || (want != nil && !errors.Is(err, want)) || !strings.Contains(fmt.Sprint(err), text) {
				t.Errorf("%s: got %v, want %v with %q", name, err, want, text)
			}
		}
		refused("a new run", ErrUnfinished, "--resume", func(o *Config) { o.Resume = false })
		refused("no state", ErrNoState, "nowhere", func(o *Config) { o.State += "nowhere" })
		refused("another selection", ErrOther, "order-e2", func(o *Config) { o.Selection.Orders = []string{"order-e1"} })
		refused("of parked ones", ErrOther, "from", func(o *Config) { o.Selection.Parked = true })
		refused("another account", ErrOther, "MERCADOPAGO_ACCOUNT", func(o *Config) { o.Rules.Account = "other" })
		refused("another partitioner", ErrOther, "--partitioner", func(o *Config) { o.Partitioner = ByKey })
		w.create("other", 1, nil)
		refused("another topic", ErrOther, "other", func(o *Config) { o.Input = "other" })
		for name, text := range map[string]string{
			"damaged": "{", "newer": strings.Replace(string(saved), `"version": 1`, `"version": 2`, 1),
		} {
			if err := os.WriteFile(w.state, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(name, nil, w.state, func(*Config) {})
		}
		if err := os.WriteFile(w.state, saved, 0o600); err != nil {
			t.Fatal(err)
		}
		same := c
		same.Resume, same.Selection.Orders = true, []string{"order-e2", "order-e1"}
		w.close(w.open(same))
		unknown := regexp.MustCompile(`"id": "[0-9a-f]+"`).ReplaceAll(saved, []byte(`"id": "`+strings.Repeat("0", 32)+`"`))
		if err := os.WriteFile(w.state, unknown, 0o600); err != nil || bytes.Equal(unknown, saved) {
			t.Fatal(err, string(saved))
		}
		w.close(w.open(same)) // the brokers had no topic ids
		if err := os.WriteFile(w.state, saved, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin.DeleteTopics(t.Context(), input); err != nil {
			t.Fatal(err)
		}
		w.create(input, partitions, nil)
		refused("a recreated topic", ErrOther, "recreated", func(*Config) {})
	})
}

func TestNoSuchPartition(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		if _, err := New(t.Context(), w.config(Selection{Partitions: []int32{3}})); !errors.Is(err, ErrSelection) ||
			!strings.Contains(err.Error(), "3") {
			t.Errorf("got %v", err)
		}
		c := w.config(Selection{All: true})
		c.Input = "nowhere"
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "TOPIC_ORDER_READY_TO_CAPTURE") {
			t.Errorf("got %v", err)
		}
		c = w.config(Selection{All: true, Parked: true})
		c.Parked = "nowhere"
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), "TOPIC_PARKED") {
			t.Errorf("got %v", err)
		}
	})
}
