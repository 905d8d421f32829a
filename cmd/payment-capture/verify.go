package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/secret"
	"payment-capture/internal/verify"
)

// errDiffers reports that verify found differences.
var errDiffers = errors.New("the topics are not as they should be")

// verifyFlags are those of verify.
type verifyFlags struct {
	since, until string
	noLedger     bool
	api, search  bool
	apiRate      float64
	output       string
	format       string
	maxShown     int
	asJSON       bool
	scratchDir   string
}

func newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove from the topics that every event has exactly one outcome with the right amount",
		Long: "Read the input, the outcomes, the parked records and the ledger, and prove, event by event, that there is exactly one outcome " +
			"with the right amount; with --api, also that the payment API has that payment. If something differs the exit code is 7. " +
			"Nothing is written to Kafka, and no money is moved. " +
			"docs/verifying.md lists what is proven, and what to do about each kind of difference.",
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.since, "since", "", "check events whose records in the input topic are of this time or later: RFC 3339")
	cmd.Flags().StringVar(&f.until, "until", "", "check events whose records are of an earlier time: RFC 3339")
	cmd.Flags().BoolVar(&f.noLedger, "no-ledger", false, "leave the ledger out, if there is none")
	cmd.Flags().BoolVar(&f.api, "api", false, "read the payment of every event from the API, and compare")
	cmd.Flags().BoolVar(&f.search, "api-search", false, "with --api: search for payments of events that are parked or have no decision")
	cmd.Flags().Float64Var(&f.apiRate, "api-rate", 5, "with --api: calls a second, up to 1000, beside those of the service")
	cmd.Flags().StringVar(&f.output, "output", "", "file to write every finding to")
	cmd.Flags().StringVar(&f.format, "format", "json", "of the file: json, a document a line, or csv")
	cmd.Flags().IntVar(&f.maxShown, "max-shown", 20, "how many findings to print")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the numbers as JSON, instead of the tables; --output writes the findings")
	cmd.Flags().StringVar(&f.scratchDir, "scratch-dir", "",
		"directory for a temporary store, some 500 bytes an event; default: the system's for temporary files")
	return cmd
}

// check checks the flags.
func (f *verifyFlags) check(conf *verify.Config) error {
	var err error
	for _, t := range []struct {
		name, text string
		into       *time.Time
	}{{"since", f.since, &conf.Since}, {"until", f.until, &conf.Until}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = time.Parse(time.RFC3339, t.text); err != nil {
			return fmt.Errorf("--%s: %q is no time such as 2026-11-23T10:00:00Z", t.name, t.text)
		}
	}
	switch {
	case !conf.Since.IsZero() && !conf.Until.IsZero() && !conf.Since.Before(conf.Until):
		return errors.New("--until: must be later than --since")
	case f.search && !f.api:
		return errors.New("--api-search: needs --api")
	case !(f.apiRate > 0 && f.apiRate <= 1000): // nor is NaN a rate
		return errors.New("--api-rate: over 0, up to 1000 calls a second")
	case f.maxShown < 0:
		return errors.New("--max-shown: 0 or more")
	}
	if _, err := verify.NewWriter(io.Discard, f.format); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	return nil
}

func (f *verifyFlags) run(cmd *cobra.Command) (err error) {
	read := config.ReadKafka
	if f.api {
		read = readConfig
	}
	c, err := read()
	if err != nil {
		return usageError{err}
	}
	log := newLogger(c, cmd.ErrOrStderr())
	conf, err := f.config(c, log)
	if err != nil {
		return usageError{err}
	}
	bar := newProgress(cmd.ErrOrStderr(), log)
	conf.Progress = bar.show
	if f.api {
		client, err := apiClient(c, log)
		if err != nil {
			return usageError{err}
		}
		defer client.Close()
		conf.API = &verify.APIConfig{API: client, Rate: f.apiRate, Search: f.search}
	}
	// Before the work begins, so that a name that is wrong is no surprise at its end.
	file, err := f.open()
	if err != nil {
		return usageError{fmt.Errorf("--output: %w", err)}
	}
	return errors.Join(f.verify(cmd, conf, file, bar), file.close())
}

func (f *verifyFlags) config(c config.Config, log *slog.Logger) (verify.Config, error) {
	conf := verify.Config{
		Group: c.KafkaGroup, Account: c.MercadoPagoAccount, ScratchDir: f.scratchDir, Log: log,
		Topics: verify.Topics{
			Input: c.TopicInput, Captured: c.TopicCaptured, Rejected: c.TopicRejected, Parked: c.TopicParked, Ledger: c.TopicLedger,
		},
		Guard: app.Rules(c).Guard, DuplicateWindow: c.DuplicateWindow,
	}
	if f.noLedger {
		conf.Topics.Ledger = ""
	}
	if err := f.check(&conf); err != nil {
		return conf, err
	}
	var err error
	conf.Kafka, err = app.KafkaConfig(c, log, nil)
	return conf, err
}

// apiClient returns a client to read payments with.
func apiClient(c config.Config, log *slog.Logger) (*mercadopago.Client, error) {
	token := secret.Fixed(c.MercadoPagoAccessToken)
	if c.MercadoPagoAccessTokenFile != "" {
		var err error
		if token, err = secret.File(c.MercadoPagoAccessTokenFile,
			secret.NewWarner(log, "MERCADOPAGO_ACCESS_TOKEN_FILE", c.MercadoPagoAccessTokenFile)); err != nil {
			return nil, fmt.Errorf("MERCADOPAGO_ACCESS_TOKEN_FILE: %w", err)
		}
	}
	trusted, err := app.APITLS(c, log)
	if err != nil {
		return nil, err
	}
	return mercadopago.New(mercadopago.Config{
		URL: c.MercadoPagoURL, Timeout: c.MercadoPagoTimeout, MaxConnections: 8, TLS: trusted, UserAgent: "payment-capture/" + version,
	}, func() secret.Text {
		text, _ := token.Text() // the source logs the error; the last token stays in use
		return text
	})
}

// findings is the file of findings, or nothing.
type findings struct {
	file *os.File
	verify.Writer
}

func (f *verifyFlags) open() (*findings, error) {
	if f.output == "" {
		return &findings{}, nil
	}
	file, err := os.OpenFile(f.output, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	w, err := verify.NewWriter(file, f.format)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &findings{file: file, Writer: w}, nil
}

func (f *findings) close() error {
	if f.file == nil {
		return nil
	}
	if err := errors.Join(f.Close(), f.file.Close()); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return nil
}

func (f *verifyFlags) verify(cmd *cobra.Command, conf verify.Config, file *findings, bar *progress) error {
	shown := &verify.Shown{Most: f.maxShown}
	sum, err := verify.Run(cmd.Context(), conf, func(found verify.Finding) error {
		shown.Add(found)
		if file.file == nil {
			return nil
		}
		if err := file.Write(found); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		return nil
	})
	bar.end()
	if sum == nil || (err != nil && !errors.Is(err, verify.ErrNotAsked)) {
		return err
	}
	if f.asJSON {
		err = errors.Join(err, sum.JSON(cmd.OutOrStdout()))
	} else {
		sum.Print(cmd.OutOrStdout())
		shown.Print(cmd.OutOrStdout())
	}
	if n := sum.Differences(); n > 0 {
		err = errors.Join(fmt.Errorf("%w: %d differences", errDiffers, n), err)
	}
	return err
}
