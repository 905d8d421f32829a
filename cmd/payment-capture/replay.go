package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/ledger"
	"payment-capture/internal/replay"
)

// replayFlags are the command's.
type replayFlags struct {
	selection    replay.Selection
	since, until string
	from, to     int64
	partitioner  string
	rate         float64
	state        string
	resume       bool
	dryRun, yes  bool
	asJSON       bool
}

func newReplay() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Send records of the input topic, or parked records, to the service again",
		Long: "Send records of TOPIC_ORDER_READY_TO_CAPTURE, or with --parked those of TOPIC_PARKED as they were, " +
			"into TOPIC_ORDER_READY_TO_CAPTURE again, " +
			"for the running service to deal with. What was decided before is answered from the ledger; docs/replaying.md describes the rest.\n\n" +
			"First it prints what would happen and for how much money; --dry-run ends there. If the API would be called it asks before it sends, " +
			"or requires --yes. SIGINT and SIGTERM stop it; --resume continues.\n\n" + readWhole,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.addSelection(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", false, "print what would happen, and send nothing")
	flags.BoolVar(&f.asJSON, "json", false, "with --dry-run, print JSON")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before events are sent for which the API is called")
	flags.Float64Var(&f.rate, "rate", 200, "records a second; 0: no limit (see docs/replaying.md)")
	flags.StringVar(&f.partitioner, "partitioner", string(replay.SamePartition),
		"same: into the partition in which a record lay; key: into that of its key")
	flags.StringVar(&f.state, "state", "payment-capture-replay.json", "file with the progress of the run; removed at its end")
	flags.BoolVar(&f.resume, "resume", false, "continue the run of the --state file")
	return cmd
}

// addSelection adds the flags that select records.
func (f *replayFlags) addSelection(cmd *cobra.Command) {
	flags, s := cmd.Flags(), &f.selection
	flags.BoolVar(&s.All, "all", false, "every record")
	flags.StringVar(&f.since, "since", "", "records written at this time or later, such as 2026-11-23T10:00:00Z")
	flags.StringVar(&f.until, "until", "", "records written before this time")
	flags.Int32SliceVar(&s.Partitions, "partition", nil,
		"partitions, separated by commas (with --parked those of TOPIC_PARKED, as the offsets)")
	flags.Int64Var(&f.from, "from-offset", -1, "of the one partition, from this offset on")
	flags.Int64Var(&f.to, "to-offset", -1, "of the one partition, up to this offset, which is left out")
	flags.StringArrayVar(&s.Orders, "order", nil, "order id (again for more)")
	flags.StringArrayVar(&s.Events, "event", nil, "event id, or the sha256:… that stands in for it (again for more)")
	flags.BoolVar(&s.Parked, "parked", false, "take parked records, and have them tried again under their keys")
	flags.StringArrayVar(&s.Reasons, "reason", nil, "with --parked: park reason, such as undecided (again for more)")
	flags.BoolVar(&s.ParkedAgain, "even-parked-again", false,
		"with --parked: also send records that the service would only park again, such as invalid events")
}

// read parses and checks the flags.
func (f *replayFlags) read(cmd *cobra.Command) error {
	var err error
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", f.since, &f.selection.Since}, {"until", f.until, &f.selection.Until}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = time.Parse(time.RFC3339, t.text); err != nil {
			return fmt.Errorf("--%s: %q is no RFC 3339 time such as 2026-11-23T10:00:00Z", t.flag, t.text)
		}
	}
	if cmd.Flags().Changed("from-offset") {
		f.selection.From = &f.from
	}
	if cmd.Flags().Changed("to-offset") {
		f.selection.To = &f.to
	}
	switch {
	case !(f.rate >= 0 && f.rate <= math.MaxInt32): // nor is NaN a rate
		return fmt.Errorf("--rate: %g: 0 for no limit, or records a second", f.rate)
	case f.partitioner != string(replay.SamePartition) && f.partitioner != string(replay.ByKey):
		return fmt.Errorf("--partitioner: %q is neither %s nor %s", f.partitioner, replay.SamePartition, replay.ByKey)
	case f.state == "":
		return errors.New("--state: name a file")
	case f.asJSON && !f.dryRun:
		return errors.New("--json: it is for --dry-run")
	}
	if f.resume && f.selected(cmd) == "" {
		return nil // the selection of the state file
	}
	return f.selection.Check()
}

// selected returns one of the selecting flags that are set, or "".
func (f *replayFlags) selected(cmd *cobra.Command) string {
	for _, name := range []string{
		"all", "since", "until", "partition", "from-offset", "to-offset", "order", "event", "parked", "reason", "even-parked-again",
	} {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

func (f *replayFlags) run(cmd *cobra.Command) error {
	if err := f.read(cmd); err != nil {
		return usageError{err}
	}
	c, err := config.ReadRules()
	if err != nil {
		return usageError{err}
	}
	log := logWarnings(c, cmd.ErrOrStderr())
	bar := newProgress(cmd.ErrOrStderr(), newLogger(c, cmd.ErrOrStderr()))
	defer bar.end()
	kafka, err := app.KafkaConfig(c, log, nil)
	if err != nil {
		return usageError{err}
	}
	conf := replay.Config{
		Kafka: kafka, Input: c.TopicInput, Parked: c.TopicParked, Rules: replay.Rules{Rules: app.Rules(c), Decoder: app.Decoder(c)},
		Selection:   f.selection,
		Partitioner: replay.Partitioner(f.partitioner), Rate: f.rate, State: f.state, Resume: f.resume,
		Progress: bar.show, Log: log,
	}
	return withLedger(cmd, ledger.Config{Kafka: kafka, Topic: c.TopicLedger, Retention: c.LedgerRetention, Log: log}, bar,
		func(ctx context.Context, l *ledger.Ledger, dir string) error {
			conf.Ledger, conf.Scratch = l, dir
			return f.replay(ctx, cmd, conf, bar)
		})
}

// replay plans, asks, and sends.
func (f *replayFlags) replay(ctx context.Context, cmd *cobra.Command, conf replay.Config, bar *progress) (err error) {
	run, err := replay.New(ctx, conf)
	if err != nil {
		return usageIf(err)
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	if !run.KeepsTime() {
		conf.Log.WarnContext(ctx, "input topic replaces the times of records", slog.String("topic", conf.Input),
			slog.String("cause", "message.timestamp.type is LogAppendTime"), slog.String("effect",
				"events without a time of their own are not sent if their age matters"))
	}
	plan, err := run.Plan(ctx)
	bar.end()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f.asJSON {
		return plan.JSON(out)
	}
	plan.Print(out)
	switch {
	case f.dryRun:
		return nil
	case plan.Send == 0 && !f.resume:
		_, err = fmt.Fprintln(out, "there is nothing to send")
		return err
	}
	if err := f.confirm(ctx, cmd, plan); err != nil {
		return err
	}
	result, err := run.Send(ctx, plan)
	bar.end()
	if errors.Is(err, replay.ErrNotBegun) && !f.resume {
		return fmt.Errorf("%w; name a writable file with --state", err)
	}
	if err != nil {
		return fmt.Errorf("%w; %d records are sent; continue with: payment-capture replay --resume --state %s", err, result.Sent, f.state)
	}
	_, _ = fmt.Fprintf(out, "%d records are sent\n", result.Sent) // for people only
	if result.TooLarge > 0 || result.Deleted > 0 {
		return fmt.Errorf("%d records were too large for the input topic, and %d offsets were deleted before they were read; "+
			"the log has their offsets",
			result.TooLarge, result.Deleted)
	}
	return nil
}

// usageIf marks errors that the flags caused.
func usageIf(err error) error {
	for _, of := range []error{replay.ErrSelection, replay.ErrUnfinished, replay.ErrNoState, replay.ErrOther} {
		if errors.Is(err, of) {
			return usageError{err}
		}
	}
	return err
}

// confirm asks whether to send events for which the API is called.
func (f *replayFlags) confirm(ctx context.Context, cmd *cobra.Command, plan *replay.Plan) error {
	charges := plan.Charges()
	if charges.Events == 0 || f.yes {
		return nil
	}
	what := fmt.Sprintf("for %d events (%s) the API would be called, and the buyers charged", charges.Events, charges.MoneyText())
	if in, ok := cmd.InOrStdin().(*os.File); !ok || !isTerminal(in) || !isTerminal(cmd.ErrOrStderr()) {
		return usageError{fmt.Errorf("%s: nothing is sent without --yes", what)}
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s. Send them? Type yes: ", what) // for people only
	answer := make(chan string, 1)
	go func() { // a read cannot be broken off; the process ends soon
		line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // what was not typed is no yes
		answer <- strings.TrimSpace(line)
	}()
	select {
	case text := <-answer:
		if text != "yes" {
			return errors.New("nothing was sent")
		}
		return nil
	case <-ctx.Done():
		return errors.New("interrupted; nothing was sent")
	}
}
