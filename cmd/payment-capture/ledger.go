package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/event"
	"payment-capture/internal/ledger"
	"payment-capture/internal/ledger/show"
)

func newLedger() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Show what the ledger knows: of one event, or of all",
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLedgerGet(), newLedgerStats())
	return cmd
}

// readWhole is part of the help of the commands that read the whole ledger.
const readWhole = "The whole of TOPIC_LEDGER is read for it, into a store in the system's temporary directory " +
	"that is removed afterwards: " +
	"LEDGER_DIR belongs to the running service and is not used. It needs about as much disk as the service's own store."

const writesNothing = "Nothing is written to Kafka."

func newLedgerGet() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get EVENT",
		Short: "Show what the ledger knows of an event, by its id",
		Long: "Show what the ledger knows of an event, and what the service would do if the event's record came now. " +
			"If it knows nothing the exit code is 1.\n\n" + readWhole + " " + writesNothing,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usageError{errors.New("ledger get: give one event id")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.ReadRules()
			if err != nil {
				return usageError{err}
			}
			var e show.Event
			err = readLedger(cmd, c, func(ctx context.Context, l *ledger.Ledger) (err error) {
				e, err = show.Lookup(ctx, l, args[0], rulesOf(c), time.Now())
				return err
			})
			if err != nil {
				return err
			}
			return printEvent(cmd.OutOrStdout(), c.TopicLedger, e, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newLedgerStats() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count the ledger's events, by how they ended",
		Long: "Count the ledger's events by decision, the parked ones by reason, the attempts whose effect is not known by age, " +
			"and add up what was captured.\n\n" + readWhole + " " + writesNothing,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.ReadKafka()
			if err != nil {
				return usageError{err}
			}
			stats := show.NewStats(rulesOf(c), time.Now())
			err = readLedger(cmd, c, func(ctx context.Context, l *ledger.Ledger) error {
				return l.All(ctx, func(_ string, h event.History) error {
					stats.Add(h)
					return nil
				})
			})
			if err != nil {
				return err
			}
			if asJSON {
				return show.JSON(cmd.OutOrStdout(), stats)
			}
			stats.Print(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func rulesOf(c config.Config) show.Rules {
	return show.Rules{Rules: app.Rules(c), Suppress: c.ReplayedOutcomes == config.ReplayedSuppress}
}

// printEvent prints what is known of an event. It is an error if nothing is.
func printEvent(out io.Writer, topic string, e show.Event, asJSON bool) error {
	if asJSON {
		if err := show.JSON(out, e); err != nil {
			return err
		}
	}
	if e.Decision == show.Unknown {
		return fmt.Errorf("the ledger (%s) knows nothing of event %q: %s. A record that is no valid event is known by its digest, "+
			"which the log (event_id) and the parked record (parked_event_id) name: sha256:…", topic, e.ID, e.Next.Detail)
	}
	if asJSON {
		return nil
	}
	return e.Print(out)
}

// withLedger reads the whole ledger into a temporary directory, which has room for
// more, and removes the directory after use.
func withLedger(cmd *cobra.Command, conf ledger.Config, bar *progress,
	use func(ctx context.Context, l *ledger.Ledger, dir string) error,
) (err error) {
	dir, err := os.MkdirTemp("", "payment-capture-")
	if err != nil {
		return fmt.Errorf("create a directory for the ledger in the system's temporary directory (TMPDIR): %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	conf.Dir = dir + "/ledger"
	l := ledger.New(conf)
	if err := l.Start(cmd.Context()); err != nil {
		return fmt.Errorf("TOPIC_LEDGER: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	err = whileWell(cmd.Context(), l, func(h ledger.Health) {
		if h.Behind > 0 { // a full bar is finished for good, and the end of the topic may move on
			bar.show("reading the ledger", h.Read, h.Read+h.Behind)
		}
	}, l.CatchUp)
	bar.end()
	if err != nil {
		return fmt.Errorf("read TOPIC_LEDGER (%s): %w", conf.Topic, err)
	}
	return whileWell(cmd.Context(), l, func(ledger.Health) {}, func(ctx context.Context) error { return use(ctx, l, dir) })
}

// readLedger opens the ledger that the configuration names, as withLedger does.
func readLedger(cmd *cobra.Command, c config.Config, use func(context.Context, *ledger.Ledger) error) error {
	log := logWarnings(c, cmd.ErrOrStderr())
	conf, err := app.KafkaConfig(c, log, nil)
	if err != nil {
		return usageError{err}
	}
	bar := newProgress(cmd.ErrOrStderr(), log)
	return withLedger(cmd, ledger.Config{Kafka: conf, Topic: c.TopicLedger, Retention: c.LedgerRetention, Log: log}, bar,
		func(ctx context.Context, l *ledger.Ledger, _ string) error {
			return use(ctx, l)
		})
}

// healthy is what whileWell needs of a ledger.
type healthy interface{ Health() ledger.Health }

// halted is the state of a ledger that cannot be read.
const halted = "halted"

// whileWell calls a function that reads a ledger, and meanwhile shows its health. It
// returns the reason if the ledger halts, because the function would wait in vain, or
// if the disk is full, which a service waits out and a command does not.
func whileWell(ctx context.Context, l healthy, show func(ledger.Health), read func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- read(ctx) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			h := l.Health()
			if h.State == halted || h.DiskFailing {
				cancel()
				err := errors.New(h.Reason)
				if ended := <-done; !errors.Is(ended, context.Canceled) {
					err = errors.Join(err, ended)
				}
				return err
			}
			show(h)
		}
	}
}
