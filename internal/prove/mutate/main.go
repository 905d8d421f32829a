// Command mutate plants bugs in the service, one at a time, and runs the
// prover against each: docs/proving.md. The working tree is not touched: the
// compiler is given the changed file in place of the real one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// mutation is a bug to plant: old text in a file, which must be there exactly
// once, becomes new text.
type mutation struct {
	name     string
	file     string // from the module's root
	old, new string
	also     *mutation // a second edit, of another file
}

// edits lists a mutation's edits.
func (m mutation) edits() []mutation {
	if m.also == nil {
		return []mutation{m}
	}
	second := *m.also
	second.name = m.name
	return []mutation{m, second}
}

// mutations lists all bugs.
func mutations() []mutation {
	return slices.Concat(commitMutations(), pipelineMutations(), captureMutations(), ledgerMutations())
}

func main() {
	histories := flag.Int("histories", 1000, "within how many histories each bug has to be caught")
	seed := flag.Uint64("seed", 1, "what the histories are drawn from")
	only := flag.String("only", "", "plant only the bugs whose names contain this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *histories, *seed, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, histories int, seed uint64, only string) error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := table.NewWriter()
	out.AppendHeader(table.Row{"bug", "histories until caught", "took", "by"})
	escaped := 0
	for _, m := range mutations() {
		if !strings.Contains(m.name, only) {
			continue
		}
		began := time.Now()
		caught, by, err := prove(ctx, dir, m, histories, seed)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		row := table.Row{m.name, caught, time.Since(began).Round(time.Second), by}
		if caught == 0 {
			escaped++
			row[1] = "NOT CAUGHT"
		}
		out.AppendRow(row)
		fmt.Printf("%s: %v, %s\n", m.name, row[1], by)
	}
	fmt.Println(out.Render())
	if escaped > 0 {
		return fmt.Errorf("%d bugs were not caught within %d histories of seed %d", escaped, histories, seed)
	}
	return nil
}

// apply gives the file's text with the bug in it.
func (m mutation) apply(source string) (string, error) {
	if n := strings.Count(source, m.old); n != 1 {
		return "", fmt.Errorf("the list of bugs is stale: %s has the text of %q %d times, not once: adapt internal/prove/mutate", m.file, m.name, n)
	}
	return strings.Replace(source, m.old, m.new, 1), nil
}

// runAtMost is far more than 1,000 histories take.
const runAtMost = 5 * time.Minute

// prove builds the prover with the bug in the service and runs it; caught is
// how many histories it took, 0 if none failed.
func prove(ctx context.Context, dir string, m mutation, histories int, seed uint64) (caught int, by string, err error) {
	binary, err := build(ctx, dir, m)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runAtMost, fmt.Errorf("%q made the prover run for over %s: time stands still in it; plant it otherwise", m.name, runAtMost))
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^TestProve$", "-test.timeout", "30m", "-stop", "-reports", "0", //nolint:gosec // G204: built above
		"-histories", strconv.Itoa(histories), "-seed", strconv.FormatUint(seed, 10))
	output, err := cmd.CombinedOutput()
	if err == nil {
		return 0, "", nil
	}
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || ctx.Err() != nil {
		return 0, "", errors.Join(err, context.Cause(ctx))
	}
	return parse(string(output))
}

// build makes the prover's binary with the mutation's files in place of the
// real ones.
func build(ctx context.Context, dir string, m mutation) (string, error) {
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "prove.test")
	replace := make(map[string]string)
	for i, e := range m.edits() {
		source, err := os.ReadFile(e.file)
		if err != nil {
			return "", fmt.Errorf("run this at the module's root: %w", err)
		}
		mutated, err := e.apply(string(source))
		if err != nil {
			return "", err
		}
		path, err := filepath.Abs(e.file)
		if err != nil {
			return "", err
		}
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replace[path], []byte(mutated), 0o600); err != nil { //nolint:gosec // G703: within a directory of our own
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "synctests", "-overlay", overlay, "-c", "-o", binary, "./internal/prove") //nolint:gosec // G204: names of our own
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not compile: %w\n%s", err, output)
	}
	return binary, nil
}

var (
	violation = regexp.MustCompile(`prove_test\.go:\d+: history \d+ of seed \d+: (.*)`)
	count     = regexp.MustCompile(`(?m)^histories (\d+), .* violations ([1-9]\d*)$`)
)

// parse reads the prover's output: the first violation and the last line. A
// prover that panics has caught the bug too.
func parse(output string) (int, string, error) {
	by := "panic"
	if m := violation.FindStringSubmatch(output); m != nil {
		by = m[1]
	}
	const most = 110
	if len(by) > most {
		by = by[:most] + "…"
	}
	m := count.FindStringSubmatch(output)
	if m == nil {
		if i := strings.Index(output, "panic: "); i >= 0 {
			return 1, "the service panics: " + strings.SplitN(output[i:], "\n", 2)[0], nil
		}
		return 0, "", fmt.Errorf("the prover failed, but not by a violation:\n%s", output)
	}
	n, err := strconv.Atoi(m[1])
	return n, by, err
}
