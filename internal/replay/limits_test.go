package replay

import (
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	for name, test := range map[string]struct {
		config map[string]string
		age    time.Duration
		want   bool
	}{
		"nothing is known":           {nil, 1000 * hour, true},
		"append time":                {map[string]string{"message.timestamp.type": "LogAppendTime"}, 0, false},
		"create time":                {map[string]string{"message.timestamp.type": "CreateTime"}, hour, true},
		"within retention":           {map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}, 144 * hour, true},
		"near its end":               {map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}, 144*hour + 1, false},
		"a short retention":          {map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "3600000"}, hour/2 + 1, false},
		"in its first half":          {map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "3600000"}, hour / 2, true},
		"no end of retention":        {map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}, 1000 * hour, true},
		"compacted alone":            {map[string]string{"cleanup.policy": "compact", "retention.ms": "3600000"}, 1000 * hour, true},
		"older than taken":           {map[string]string{"message.timestamp.before.max.ms": "3600000"}, hour + 1, false},
		"older than taken, formerly": {map[string]string{"message.timestamp.difference.max.ms": "3600000"}, hour + 1, false},
		"any age is taken":           {map[string]string{"message.timestamp.before.max.ms": "9223372036854775807"}, 1000 * hour, true},
	} {
		if got := limitsOf(test.config).keep(now().Add(-test.age), now()); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
	if limitsOf(nil).keep(time.Time{}, now()) {
		t.Error("a record without a time is said to keep it")
	}
}
