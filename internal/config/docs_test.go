package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/config"
)

// TestDocumentListsTheVariables compares the table in docs/configuration.md with the
// code. To update the document, paste the output of `payment-capture config --markdown`.
func TestDocumentListsTheVariables(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, begins := strings.Cut(string(document), "<!-- config:begin -->\n")
	table, _, ends := strings.Cut(after, "<!-- config:end -->")
	if !begins || !ends {
		t.Fatal("docs/configuration.md has no table between <!-- config:begin --> and <!-- config:end -->")
	}
	got := strings.Split(strings.TrimSpace(table), "\n")
	want := []string{"| variable | default | meaning |", "| --- | --- | --- |"}
	for _, row := range (config.Config{}).Table() {
		want = append(want, "| `"+row.Name+"` | "+row.Default+" | "+row.Description+" |")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table differs from the code; paste the output of config --markdown (-code +document):\n%s", diff)
	}
}
