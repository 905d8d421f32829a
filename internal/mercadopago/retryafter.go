package mercadopago

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds the wait that the API may ask for: a wrong header must not
// stop an order for a day.
const maxRetryAfter = 15 * time.Minute

// parseRetryAfter parses a Retry-After header: whole seconds (the OpenAPI component
// TooManyRequests has an integer) or an HTTP date. It returns 0 for all else, and for
// times that are past: then the caller's own backoff applies.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter // digits that do not parse are too large a number
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
