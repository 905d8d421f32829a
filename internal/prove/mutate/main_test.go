package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListIsFresh holds the bugs to the code that they are planted in.
func TestListIsFresh(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, m := range mutations() {
		if names[m.name] {
			t.Errorf("two bugs are called %q", m.name)
		}
		names[m.name] = true
		for _, e := range m.edits() {
			source, err := os.ReadFile(filepath.Join("..", "..", "..", e.file))
			if err != nil {
				t.Error(err)
				continue
			}
			mutated, err := e.apply(string(source))
			if err != nil {
				t.Error(err)
			} else if mutated == string(source) {
				t.Errorf("%q changes nothing", m.name)
			}
		}
	}
	if len(names) < 16 {
		t.Errorf("%d bugs, want 16 at least", len(names))
	}
}

func TestApplyRefusesWhatIsNotThereOnce(t *testing.T) {
	t.Parallel()
	m := mutation{name: "n", file: "f.go", old: "a", new: "b"}
	for source, want := range map[string]string{"xax": "xbx", "x": "", "axa": ""} {
		got, err := m.apply(source)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q becomes %q, error %v; want %q", source, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "stale") {
			t.Errorf("the error does not say that the list is stale: %v", err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const failed = "    --- FAIL: TestProve/7 (0.1s)\n        prove_test.go:122: history 7 of seed 1: verdict: lost\nFAIL\n3s on 2 cores\n" +
		"histories 9, kills 3, faults 1, calls 2, charges 2, violations 1\n"
	if n, by, err := parse(failed); n != 9 || by != "verdict: lost" || err != nil {
		t.Errorf("got %d, %q, %v", n, by, err)
	}
	if n, by, err := parse("panic: index out of range\ngoroutine 1"); n != 1 || !strings.Contains(by, "index out of range") || err != nil {
		t.Errorf("got %d, %q, %v", n, by, err)
	}
	if _, _, err := parse("no space left on device"); err == nil {
		t.Error("a failure that is no violation counts as one")
	}
}
