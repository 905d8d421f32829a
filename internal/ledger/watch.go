package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka"
)

// How often the topic is looked at: whether it is there and how far it goes, and
// whether its policy is the right one.
const (
	watchEvery  = 10 * time.Second
	policyEvery = time.Minute
)

// watch looks at the topic until ctx ends.
func (l *Ledger) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	policy := time.Now()
	for {
		l.showState()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.lookAtAge(ctx)
		l.lookAtTopic(ctx)
		if time.Since(policy) >= policyEvery {
			policy = time.Now()
			l.lookAtPolicy(ctx)
		}
		l.over.sweep()
	}
}

func (l *Ledger) showState() {
	state, _, _ := l.gate.look()
	l.conf.Metrics.state(state)
	l.conf.Metrics.read(0, l.marks.progress().behind)
}

// sureAfter is how many looks in a row must say that the topic is gone, and
// lookPause the time between: a broker that has just started may not know it yet.
const (
	sureAfter = 5
	lookPause = time.Second
)

// lookAtTopic halts when the topic is gone or another one; else it notices new
// partitions, and how far the topic goes.
func (l *Ledger) lookAtTopic(ctx context.Context) {
	for look := 1; ; look++ {
		state := kafka.CheckTopic(ctx, l.client, l.conf.Topic, l.tags.topicID)
		switch state {
		case kafka.TopicThere:
			if _, err := l.listEnds(ctx); err != nil && ctx.Err() == nil {
				l.log.DebugContext(ctx, "the end of the ledger cannot be asked for", slog.Any("error", err))
			}
			return
		case kafka.TopicNotKnown:
			return
		case kafka.TopicGone, kafka.TopicReplaced:
		}
		if look == sureAfter {
			what := "it was deleted"
			if state == kafka.TopicReplaced {
				what = "it was deleted and made anew"
			}
			l.session.end(l.lost(what))
			return
		}
		pause(ctx, lookPause)
		if ctx.Err() != nil {
			return
		}
	}
}

// lookAtPolicy halts while the topic's policy deletes records.
func (l *Ledger) lookAtPolicy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	configs, err := l.admin.DescribeTopicConfigs(ctx, l.conf.Topic)
	if err == nil {
		if len(configs) != 1 {
			return
		}
		err = configs[0].Err
	}
	if err != nil {
		// Not to be allowed to look is no fault.
		if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			l.log.DebugContext(ctx, "the configuration of the ledger's topic cannot be read", slog.Any("error", err))
		}
		return
	}
	config := make(map[string]string)
	for _, c := range configs[0].Configs {
		config[c.Key] = c.MaybeValue()
	}
	if reason := unfitPolicy(l.conf.Topic, config); reason != "" {
		l.halt(causePolicy, fmt.Sprintf("%v: %s", ErrMissing, reason))
	} else if l.gate.mended(causePolicy) {
		l.log.InfoContext(ctx, "the policy of the ledger's topic is mended", slog.String("topic", l.conf.Topic))
	}
}

// unfitPolicy says what is wrong with the topic's policy; "" when nothing is, or
// when it may not be read.
func unfitPolicy(topic string, config map[string]string) string {
	const key, want = "cleanup.policy", "compact"
	got, ok := config[key]
	if !ok || strings.TrimSpace(got) == want {
		return ""
	}
	return fmt.Sprintf("topic %q has %s=%s, which deletes records: set it to %s", topic, key, got, want)
}

// halt closes the gate, for good unless the cause is one that can be mended.
func (l *Ledger) halt(c cause, reason string) {
	if l.gate.halt(c, reason) {
		l.log.Error("the ledger is halted: nothing is captured", slog.String("reason", reason))
	}
	l.showState()
}

// fault notes that something failed that is tried again.
func (l *Ledger) fault(what string, err error) {
	text := fmt.Sprintf("%s: %v", what, err)
	if l.faults.set(what, text) {
		l.log.Warn("the ledger cannot be followed just now; it is tried again", slog.String("fault", text))
	}
}

// faults is the last thing that failed and is tried again.
type faults struct {
	mu     sync.Mutex
	what   string // of what kind it is
	text   string
	at     time.Time
	logged time.Time
}

// faultShown is how long a fault is shown after it last occurred, and how often
// one that goes on is logged.
const faultShown = 15 * time.Second

// set notes a fault of a kind, and reports whether it is worth logging. Its text
// may differ each time, by the name of a file for example.
func (f *faults) set(what, text string) (isNews bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	isNews = what != f.what || now.Sub(f.logged) >= faultShown
	if isNews {
		f.logged = now
	}
	f.what, f.text, f.at = what, text, now
	return isNews
}

func (f *faults) reason() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.text == "" || time.Since(f.at) > faultShown {
		return ""
	}
	return f.text
}
