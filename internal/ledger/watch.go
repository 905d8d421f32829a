package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka"
)

// How often the ledger checks that the topic exists and how far it goes, and how
// often it checks the topic's policy.
const (
	watchEvery  = 10 * time.Second
	policyEvery = time.Minute
)

// watch checks the topic until ctx ends.
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
		l.checkAge(ctx)
		l.checkTopic(ctx)
		if time.Since(policy) >= policyEvery {
			policy = time.Now()
			l.checkPolicy(ctx)
		}
	}
}

func (l *Ledger) showState() {
	state, _, _ := l.availability.current()
	l.conf.Metrics.state(state)
	l.conf.Metrics.read(0, l.watermarks.progress().behind)
}

// sureAfter is how many checks in a row must find the topic gone, and
// lookPause the time between: a broker that has just started may not know it yet.
const (
	sureAfter = 5
	lookPause = time.Second
)

// checkTopic halts when the topic is gone or another one; else it notices
// how far the topic goes.
func (l *Ledger) checkTopic(ctx context.Context) {
	for check := 1; ; check++ {
		err := kafka.CheckTopic(ctx, l.client, l.conf.Topic, l.topicID)
		recreated := errors.Is(err, kafka.ErrRecreated)
		switch {
		case err == nil:
			if _, err := l.listEnds(ctx); err != nil && ctx.Err() == nil {
				l.log.DebugContext(ctx, "the end of the ledger cannot be asked for", slog.Any("error", err))
			}
			return
		case !recreated && !errors.Is(err, kerr.UnknownTopicOrPartition): // the cluster did not answer
			return
		}
		if check == sureAfter {
			what := "it was deleted"
			if recreated {
				what = "it was deleted and recreated"
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

// checkPolicy halts while the topic's policy deletes records too early.
func (l *Ledger) checkPolicy(ctx context.Context) {
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
		// A missing permission to describe it is no fault.
		if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			l.log.DebugContext(ctx, "the configuration of the ledger's topic cannot be read", slog.Any("error", err))
		}
		return
	}
	config := make(map[string]string)
	for _, c := range configs[0].Configs {
		config[c.Key] = c.MaybeValue()
	}
	if reason := l.unfitPolicy(config); reason != "" {
		l.halt(causePolicy, fmt.Sprintf("%v: %s", ErrMissing, reason))
	} else if l.availability.recovered(causePolicy) {
		l.log.InfoContext(ctx, "ledger topic's cleanup policy is right again", slog.String("topic", l.conf.Topic))
	}
}

// halt makes the ledger unavailable, for good unless the cause is one that can recover.
func (l *Ledger) halt(c cause, reason string) {
	if l.availability.halt(c, reason) {
		l.log.Error("ledger halted", slog.String("reason", reason))
	}
	l.showState()
}

// fault records an operation that failed and will be repeated.
func (l *Ledger) fault(what string, err error) {
	text := fmt.Sprintf("%s: %v", what, err)
	if l.faults.set(what, text) {
		l.log.Warn("following the ledger failed; retrying", slog.String("fault", text))
	}
}

// faults holds the last failed operation that will be repeated.
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

// set records a fault of a kind, and reports whether it is worth logging. Its text
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
