package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka"
)

// watchInterval is the time between two checks of the input topic and the group.
const watchInterval = 5 * time.Second

// watchInput checks now and then whether the input topic is still the one of the start,
// because the library would apply its offsets to a recreated topic, where they mean
// nothing. It also runs the checks of the group and of open transactions.
func (p *Pipeline) watchInput(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	group := &groupWatch{p: p, admin: kadm.NewClient(p.consumer)}
	transactions := transactionWatch{p: p, seen: make(map[int32]*OpenTransaction)}
	defer transactions.stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch err := kafka.CheckTopic(ctx, p.consumer, p.conf.Topics.Input, p.commitConf.TopicID); {
		case errors.Is(err, kafka.ErrRecreated):
			p.send((*owner).inputRecreated)
			return
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			p.send((*owner).inputDeleted)
		default:
			transactions.check(ctx)
		}
		group.check(ctx)
	}
}

// inputRecreated stops as on request: calls under way finish and completed records are
// committed, because their events were deleted with the topic and will not come again.
// No offsets are committed, because they mean nothing in the new topic.
func (o *owner) inputRecreated() {
	o.stopping.withoutOffsets = true
	o.commits.retryAt = time.Time{}
	o.stop(fmt.Errorf("%w: topic %q", kafka.ErrRecreated, o.p.conf.Topics.Input))
}

func (o *owner) inputDeleted() {
	topic := o.p.conf.Topics.Input
	o.fetch.set(noPartition, fmt.Sprintf("read topic %q: the topic is gone; create it again, "+
		"and the service reads it from its beginning", topic))
	o.log.ErrorContext(o.work, "input topic deleted", slog.String("topic", topic))
}
