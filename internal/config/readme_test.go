package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/config"
)

// TestReadmeListsTheVariables holds the README's table to the code. To renew
// it, paste the output of `payment-capture config --markdown`.
func TestReadmeListsTheVariables(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, begins := strings.Cut(string(readme), "<!-- config:begin -->\n")
	table, _, ends := strings.Cut(after, "<!-- config:end -->")
	if !begins || !ends {
		t.Fatal("README.md has no table between <!-- config:begin --> and <!-- config:end -->")
	}
	got := strings.Split(strings.TrimSpace(table), "\n")
	want := []string{"| variable | default | meaning |", "| --- | --- | --- |"}
	for _, row := range (config.Config{}).Table() {
		want = append(want, "| `"+row.Name+"` | "+row.Default+" | "+row.Description+" |")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the README's table is not that of the code; paste the output of config --markdown (-code +README):\n%s", diff)
	}
}
