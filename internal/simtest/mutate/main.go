// Command mutate plants bugs in the service, one at a time, and runs the
// simulation tests against each: docs/testing.md. The working tree is not
// changed: the compiler reads the changed files in place of the real ones.
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

// bug is a bug to plant.
type bug struct {
	name  string
	edits []edit
}

// bugs lists all planted bugs.
func bugs() []bug {
	return slices.Concat(commitBugs(), pipelineBugs(), captureBugs(), ledgerBugs(), claimBugs(), livenessBugs())
}

// apply returns the changed files, by their absolute paths.
func (b bug) apply(root string) (map[string][]byte, error) {
	changed := make(map[string][]byte)
	for _, e := range b.edits {
		files, err := sources(root, e.in)
		if err != nil {
			return nil, err
		}
		for i, f := range files {
			if text, ok := changed[f.path]; ok {
				files[i].text = text
			}
		}
		f, err := e.apply(files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		changed[f.path] = f.text
	}
	return changed, nil
}

func main() {
	runs := flag.Int("runs", 1000, "runs of the simulation test within which each bug must be caught")
	seed := flag.Uint64("seed", 1, "seed of the runs")
	only := flag.String("only", "", "plant only the bugs whose names contain this text")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *runs, *seed, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, runs int, seed uint64, only string) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := table.NewWriter()
	out.AppendHeader(table.Row{"planted bug", "runs until caught", "took", "violation"})
	escaped := 0
	for _, b := range bugs() {
		if !strings.Contains(b.name, only) {
			continue
		}
		began := time.Now()
		caught, by, err := simulate(ctx, root, dir, b, runs, seed)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		row := table.Row{b.name, caught, time.Since(began).Round(time.Second), by}
		if caught == 0 {
			escaped++
			row[1] = "NOT CAUGHT"
		}
		out.AppendRow(row)
		fmt.Printf("%s: %v, %s\n", b.name, row[1], by)
	}
	fmt.Println(out.Render())
	if escaped > 0 {
		return fmt.Errorf("%d planted bugs were not caught within %d runs of seed %d", escaped, runs, seed)
	}
	return nil
}

// runLimit is far more than 1,000 runs take.
const runLimit = 5 * time.Minute

// simulate builds the simulation tests with the bug in the service and runs
// them. It returns how many runs it took to catch the bug, 0 if none failed.
func simulate(ctx context.Context, root, dir string, b bug, runs int, seed uint64) (caught int, by string, err error) {
	binary, err := build(ctx, root, dir, b)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, runLimit,
		fmt.Errorf("the simulation ran for over %s: the bug keeps virtual time from passing; plant it in another way", runLimit))
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, //nolint:gosec // G204: built above
		"-test.run", "^TestSimulation$", "-test.timeout", "30m", "-stop", "-reports", "0",
		"-runs", strconv.Itoa(runs), "-seed", strconv.FormatUint(seed, 10))
	output, err := cmd.CombinedOutput()
	if err == nil {
		return 0, "", nil
	}
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || ctx.Err() != nil {
		return 0, "", errors.Join(err, context.Cause(ctx))
	}
	return parse(string(output))
}

// build compiles the simulation tests with the changed files in place of the
// real ones.
func build(ctx context.Context, root, dir string, b bug) (string, error) {
	changed, err := b.apply(root)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for path, text := range changed {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simtest.test")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "synctests", //nolint:gosec // G204: fixed arguments and a directory of our own
		"-overlay", overlay, "-c", "-o", binary, "./internal/simtest")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile, at the module's root: %w\n%s", err, output)
	}
	return binary, nil
}

var (
	violation = regexp.MustCompile(`simulation_test\.go:\d+: run \d+ of seed \d+: (.*)`)
	count     = regexp.MustCompile(`(?m)^runs (\d+), .* violations ([1-9]\d*)$`)
)

// parse reads the output of a simulation that failed: the first violation and
// the number of runs. A panic of the service catches the bug too.
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
		return 0, "", fmt.Errorf("the simulation failed without a violation:\n%s", output)
	}
	n, err := strconv.Atoi(m[1])
	return n, by, err
}
