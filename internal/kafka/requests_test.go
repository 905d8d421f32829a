//go:build synctests

package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// largeBatch is a batch of 40 records of 60 kB that no codec makes smaller.
func largeBatch(member *kgo.Client) Batch {
	b := batch(member, "one", 7)
	random := rand.NewChaCha8([32]byte{})
	b.Records = nil
	for i := range 40 {
		value := make([]byte, 60_000)
		_, _ = random.Read(value)
		b.Records = append(b.Records, &kgo.Record{Topic: testOut, Key: fmt.Append(nil, i), Value: value})
	}
	return b
}

// cutOff makes the broker close the connection at every produce request of more than so
// many bytes, as some brokers and proxies do.
func (w *world) cutOff(over int) *atomic.Int64 {
	limit := &atomic.Int64{}
	limit.Store(int64(over))
	w.broker.Fake.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Fake.KeepControl()
		if int64(len(r.AppendTo(nil))) > limit.Load() {
			return nil, io.EOF, true
		}
		return nil, nil, false
	})
	return limit
}

// loud returns a committer that logs to a buffer.
func (w *world) loud() (*Committer, *bytes.Buffer) {
	w.t.Helper()
	conf := w.committerConfig()
	log := &bytes.Buffer{}
	conf.Log = slog.New(slog.NewTextHandler(log, nil))
	c, err := NewCommitter(w.t.Context(), conf)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c, log
}

// TestCommitCutOffForItsSize: each commit that meets closed connections halves the
// limit of requests, until they pass.
func TestCommitCutOffForItsSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ over, limit int }{{1_046_528, 1_000_000}, {600_000, 500_000}, {300_000, 250_000}, {130_000, 125_000}} {
		t.Run(fmt.Sprint(tt.over), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member := w.member()
				c, log := w.loud()
				w.cutOff(tt.over)
				failed := 0
				for limit := defaultMaxRequestBytes; limit > tt.limit; limit /= 2 {
					began := time.Now()
					err := c.Commit(t.Context(), largeBatch(member))
					failed++
					if !errors.Is(err, ErrNotCommitted) || strings.Contains(err.Error(), testOut) ||
						!strings.Contains(err.Error(), "2400070 bytes") || !strings.Contains(err.Error(), "KAFKA_MAX_REQUEST_BYTES") {
						t.Fatalf("error %v, want ErrNotCommitted with the size, the variable, and no topic", err)
					}
					if took := time.Since(began); took > 5*time.Second {
						t.Errorf("it took %s to give up", took)
					}
				}
				if err := c.Commit(t.Context(), largeBatch(member)); err != nil {
					t.Fatal(err)
				}
				if n := len(w.outcomes()); n != 40 {
					t.Errorf("%d records can be seen, want 40", n)
				}
				if got := c.conf.Kafka.Requests.Bytes(); got != tt.limit || strings.Count(log.String(), "limit halved") != failed {
					t.Errorf("the limit is %d, want %d after %d failures; log:\n%s", got, tt.limit, failed, log)
				}
			})
		})
	}
}

// TestCommitCutOffAtTheLowestLimit: the limit has a lower bound. A failure there is not
// ErrRefused, after which the pipeline would wait for half a minute.
func TestCommitCutOffAtTheLowestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member := w.member()
		c, _ := w.loud()
		limit := w.cutOff(1000)
		for range 6 {
			if err := c.Commit(t.Context(), largeBatch(member)); !errors.Is(err, ErrNotCommitted) ||
				!strings.Contains(err.Error(), "KAFKA_MAX_REQUEST_BYTES") {
				t.Fatalf("error %v, want ErrNotCommitted with the variable", err)
			}
		}
		if got := c.conf.Kafka.Requests.Bytes(); got != LeastMaxRequestBytes {
			t.Errorf("the limit is %d, want the least", got)
		}
		limit.Store(200_000)
		if err := c.Commit(t.Context(), largeBatch(member)); err != nil {
			t.Error(err)
		}
	})
}

// TestCommitOfBatchesThatAreTooLarge: max.message.bytes of a topic was lowered after the
// start.
func TestCommitOfBatchesThatAreTooLarge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member := w.member()
		c, _ := w.loud()
		config := []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.message.bytes", Value: new("140000")}}
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
			ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: testOut,
			Configs: config,
		}}
		if resp, err := req.RequestWith(t.Context(), w.client()); err != nil || resp.Resources[0].ErrorCode != 0 {
			t.Fatal(err, resp)
		}
		for range 3 {
			if err := c.Commit(t.Context(), largeBatch(member)); !errors.Is(err, ErrNotCommitted) || !errors.Is(err, kerr.MessageTooLarge) {
				t.Fatalf("error %v, want ErrNotCommitted for the size", err)
			}
		}
		if err := c.Commit(t.Context(), largeBatch(member)); err != nil {
			t.Error(err)
		}
		if n := len(w.outcomes()); n != 40 {
			t.Errorf("%d records can be seen, want 40", n)
		}
	})
}

// TestCommitWhoseConnectionBreaks: one broken connection does not lower the limit,
// because the library repeats the request.
func TestCommitWhoseConnectionBreaks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member := w.member()
		c, _ := w.loud()
		for range 3 {
			cut := false
			w.wire.at(func(key int16) interruption {
				if key == kmsg.Produce.Int16() && !cut {
					cut = true
					return cutAfter
				}
				return pass
			})
			if err := c.Commit(t.Context(), largeBatch(member)); err != nil || !cut {
				t.Errorf("cut %v, error %v", cut, err)
			}
		}
		if got := c.conf.Kafka.Requests.Bytes(); got != defaultMaxRequestBytes {
			t.Errorf("the limit is %d, want that of the start", got)
		}
	})
}

// TestConnResets distinguishes closed connections from several requests that fail with one
// connection, and from a missing answer.
func TestConnResets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bytes int
		run   func(c *connResets) bool
		twice bool
	}{
		"twice": {LeastMaxRequestBytes + 1, func(c *connResets) bool {
			first := c.answered(1, io.EOF)
			c.connected(1)
			return !first && c.answered(1, io.EOF)
		}, true},
		"two requests of one connection": {LeastMaxRequestBytes + 1, func(c *connResets) bool {
			return c.answered(1, io.EOF) || c.answered(1, io.ErrClosedPipe)
		}, false},
		"two brokers": {LeastMaxRequestBytes + 1, func(c *connResets) bool {
			first := c.answered(1, io.EOF)
			c.connected(1)
			return first || c.answered(2, io.EOF)
		}, false},
		"an answer in between": {LeastMaxRequestBytes + 1, func(c *connResets) bool {
			c.answered(1, io.EOF)
			c.connected(1)
			c.answered(1, nil)
			return c.answered(1, io.EOF)
		}, false},
		"no answer in time": {LeastMaxRequestBytes + 1, func(c *connResets) bool {
			c.answered(1, io.EOF)
			c.connected(1)
			return c.answered(1, timeoutError{})
		}, false},
		"small requests": {LeastMaxRequestBytes, func(c *connResets) bool {
			c.answered(1, io.EOF)
			c.connected(1)
			return c.answered(1, io.EOF)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &connResets{}
			c.begin(tt.bytes)
			if twice := tt.run(c); twice != tt.twice {
				t.Errorf("twice: %v", twice)
			}
		})
	}
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
