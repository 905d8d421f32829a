package replay

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// limits are how the input topic treats the time of a record that is sent.
type limits struct {
	// appendTime: the broker replaces the record's time.
	appendTime bool
	// maxAge: older records are refused, or deleted soon, maybe before they are read.
	// 0: no record is too old.
	maxAge time.Duration
}

// spareRetention is how long before its end a copy of a record counts as deleted
// already; never more than half of the retention.
const spareRetention = 24 * time.Hour

// limitsOf reads the limits from a topic's configuration. What is not configured is
// not limited.
func limitsOf(config map[string]string) limits {
	l := limits{appendTime: config["message.timestamp.type"] == "LogAppendTime"}
	if retention := milliseconds(config["retention.ms"]); retention > 0 && strings.Contains(config["cleanup.policy"], "delete") {
		l.lower(retention - min(spareRetention, retention/2))
	}
	l.lower(milliseconds(config["message.timestamp.before.max.ms"]))
	l.lower(milliseconds(config["message.timestamp.difference.max.ms"]))
	return l
}

func (l *limits) lower(maxAge time.Duration) {
	if maxAge > 0 && (l.maxAge == 0 || maxAge < l.maxAge) {
		l.maxAge = maxAge
	}
}

// milliseconds parses a setting; 0: invalid, or no bound.
func milliseconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// keep reports whether a copy of a record keeps its time. A record without a time
// gets one.
func (l limits) keep(recordTime, now time.Time) bool {
	return !recordTime.IsZero() && !l.appendTime && (l.maxAge == 0 || now.Sub(recordTime) <= l.maxAge)
}
