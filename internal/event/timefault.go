package event

import "strings"

// timeFault names what is wrong with a time that is not RFC 3339, behind a colon, or
// returns "" if it has none of the usual shapes. It does not quote the time: a
// producer may have put the payer token there.
func timeFault(text string) string {
	const longest = 64
	if len(text) > longest {
		return ""
	}
	if fault := faultOfShape(shapeOf(text)); fault != "" {
		return ": " + fault
	}
	return ""
}

// shapeOf returns a text with 0 for each digit, and without the fraction of a second.
func shapeOf(text string) string {
	shape := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return '0'
		}
		return r
	}, text)
	whole, fraction, found := strings.Cut(shape, ":00.0")
	if !found {
		return shape
	}
	return whole + ":00" + strings.TrimLeft(fraction, "0")
}

func faultOfShape(shape string) string {
	rest, dated := strings.CutPrefix(shape, "0000-00-00")
	switch {
	case shape == "":
		return "it is empty"
	case strings.Trim(shape, `"'`) != shape:
		return "it is in quotes"
	case dated && rest == "":
		return "it is a date without a time of day"
	case dated:
		return faultOfClock(rest[:1], rest[1:])
	case strings.Trim(shape, "0.,+-") == "":
		return "it is digits only (seconds or milliseconds since 1970?)"
	case strings.Contains(shape, "00:00:00") && strings.Trim(shape[:1], "ADFJMNOSTW") == "":
		return "it begins with the name of a day or month"
	case strings.Contains(shape, "/"):
		return "the date is not written as 2026-11-23"
	}
	return ""
}

// faultOfClock names what is wrong behind the date: a T, the time of day and the zone.
func faultOfClock(separator, rest string) string {
	if strings.Trim(separator, "Tt ") != "" {
		return ""
	}
	zone, clocked := strings.CutPrefix(rest, "00:00:00")
	if !clocked {
		zone, clocked = strings.CutPrefix(rest, "00:00")
		if clocked && (zone == "" || isZone(zone)) {
			return "the seconds are missing"
		}
		return ""
	}
	_, bracketed := strings.CutSuffix(zone, "]")
	switch {
	case zone == "":
		return "it has no zone: end it with Z or an offset such as +01:00"
	case zone[1:] == "0000" || zone[1:] == "00":
		return "the offset has no colon or no minutes: write +01:00"
	case bracketed && strings.Contains(zone, "["):
		return "a zone name in brackets follows it; the offset is enough"
	case zone[0] == ',':
		return "a comma stands before the fraction of a second"
	case separator == " ":
		return "a space stands in the place of the T"
	case separator == "t" || zone == "z":
		return "the t or the z is small"
	case isZone(zone):
		return "the day, the time of day or the offset does not exist"
	}
	return ""
}

// isZone reports whether the shape is that of an RFC 3339 offset.
func isZone(shape string) bool {
	return shape == "Z" || shape == "+00:00" || shape == "-00:00"
}
