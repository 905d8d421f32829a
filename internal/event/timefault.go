package event

import (
	"regexp"
	"strings"
)

// timeFaults returns the usual spellings of a time that are not RFC 3339, and what is wrong with
// each. The first pattern that matches counts.
func timeFaults() [14]struct{ pattern, fault string } {
	const (
		date  = `\d{4}-\d\d-\d\d`
		clock = `\d\d:\d\d:\d\d(?:\.\d+)?`
		zone  = `(?:Z|[+-]\d\d:\d\d)`
	)
	return [...]struct{ pattern, fault string }{
		{``, "it is empty"},
		{`["'].*|.*["']`, "it is in quotes"},
		{date, "it is a date without a time of day"},
		{date + `[Tt ]\d\d:\d\d` + zone + `?`, "the seconds are missing"},
		{date + `[Tt ]` + clock, "it has no zone: end it with Z or an offset such as +01:00"},
		{date + `[Tt ]` + clock + `\D(?:\d\d){1,2}`, "the offset has no colon or no minutes: write +01:00"},
		{date + `[Tt ]` + clock + `.*\[.*\]`, "a zone name in brackets follows it; the offset is enough"},
		{date + `[Tt ]\d\d:\d\d:\d\d,.*`, "a comma is before the fraction of a second"},
		{date + ` ` + clock + `.*`, "a space is in place of the T"},
		{date + `t` + clock + `.*|` + date + `T` + clock + `z`, "the t or the z is in lower case"},
		{date + `T` + clock + zone, "the day, the time of day or the offset does not exist"},
		{`[+-]?[\d.,]+`, "it is digits only (seconds or milliseconds since 1970?)"},
		{`[ADFJMNOSTW].*\d\d:\d\d:\d\d.*`, "it begins with the name of a day or month"},
		{`.*/.*`, "the date is not written as 2026-11-23"},
	}
}

// timeFaultPattern has one group for each of [timeFaults].
var timeFaultPattern = regexp.MustCompile(anyOfTimeFaults())

func anyOfTimeFaults() string {
	var groups []string
	for _, f := range timeFaults() {
		groups = append(groups, "("+f.pattern+")")
	}
	return `(?s)^(?:` + strings.Join(groups, "|") + `)$`
}

// timeFault returns what is wrong with a time that is not RFC 3339, after a colon, or "" if the
// spelling is not a usual one. It does not quote the time: a producer may have put the payer token there.
func timeFault(text string) string {
	const longest = 64
	if len(text) > longest {
		return ""
	}
	groups := timeFaultPattern.FindStringSubmatchIndex(text)
	if groups == nil {
		return ""
	}
	for i, f := range timeFaults() {
		if groups[2*i+2] >= 0 {
			return ": " + f.fault
		}
	}
	return ""
}
