package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/agnivade/levenshtein"

	"payment-capture/internal/secret"
)

// Row is a variable in the table.
type Row struct {
	Name        string
	Default     string
	Value       string // in force, secrets redacted
	Description string
}

// Table lists the variables with their values in c, secrets redacted.
func (c Config) Table() []Row {
	var rows []Row
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		row := Row{Name: tag.Get("envconfig"), Default: tag.Get("default"), Description: tag.Get("desc")}
		switch value := v.Field(i).Interface().(type) {
		case secret.Text:
			row.Value = value.String()
		case []string:
			row.Value = strings.Join(value, ",")
		default:
			row.Value = fmt.Sprint(value)
		}
		if row.Name == "KAFKA_BROKERS" || strings.HasSuffix(row.Name, "_URL") || strings.HasSuffix(row.Name, "_ENDPOINT") {
			row.Value = address(row.Value)
		}
		rows = append(rows, row)
	}
	return rows
}

// address returns an address as it may be shown. An address with a user may hold a
// password, so it is redacted; the checks refuse it.
func address(text string) string {
	if strings.Contains(text, "@") {
		return secret.Redacted
	}
	return text
}

// later lists the variables of features that do not exist yet. A start with one of
// them fails, so that it cannot seem to have an effect.
func later() []string {
	return []string{"KAFKA_GROUP_PROTOCOL"}
}

// misspelt returns an error for each variable that is within two edits of one of
// ours. It ignores all others, because clusters inject many.
func misspelt(environ []string) []error {
	known := make(map[string]bool)
	for _, row := range (Config{}).Table() {
		known[row.Name] = true
	}
	var all []error
	for _, name := range later() {
		known[name] = true
		for _, kv := range environ {
			if n, _, _ := strings.Cut(kv, "="); n == name {
				all = append(all, fmt.Errorf("%s: not supported yet: unset it", name))
			}
		}
	}
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if known[name] {
			continue
		}
		for _, row := range (Config{}).Table() {
			if levenshtein.ComputeDistance(name, row.Name) <= 2 {
				all = append(all, fmt.Errorf("%s: unknown variable, similar to %s: correct it, or unset it", name, row.Name))
			}
		}
	}
	return all
}
