// Package money represents amounts of the currencies that Wallet Connect charges
// in, exact to the smallest unit and without floats.
package money

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// Currency is an ISO 4217 code in capitals, one of those in [Sites].
type Currency string

// Site is a Mercado Pago country site. The API has no currency field: the
// site of the access token determines the currency.
type Site struct {
	ID       string // as the API returns it in site_id, such as "MLM"
	Currency Currency
	Scale    int32 // decimal places that the API accepts
}

// Sites returns the sites that offer Wallet Connect. CLP has no decimals, because the
// OpenAPI overlay for MLC answers them with 400; COP has none in practice.
func Sites() []Site {
	return []Site{
		{"MLA", "ARS", 2},
		{"MLB", "BRL", 2},
		{"MLC", "CLP", 0},
		{"MCO", "COP", 0},
		{"MLM", "MXN", 2},
		{"MPE", "PEN", 2},
		{"MLU", "UYU", 2},
	}
}

// SiteOf returns the site that charges in the currency.
func SiteOf(c Currency) (Site, bool) {
	switch c {
	case "ARS":
		return Site{"MLA", c, 2}, true
	case "BRL":
		return Site{"MLB", c, 2}, true
	case "CLP":
		return Site{"MLC", c, 0}, true
	case "COP":
		return Site{"MCO", c, 0}, true
	case "MXN":
		return Site{"MLM", c, 2}, true
	case "PEN":
		return Site{"MPE", c, 2}, true
	case "UYU":
		return Site{"MLU", c, 2}, true
	}
	return Site{}, false
}

// ParseCurrency parses a currency code. Its error lists the known codes.
func ParseCurrency(code string) (Currency, error) {
	if site, ok := SiteOf(Currency(code)); ok {
		return site.Currency, nil
	}
	var known []string
	for _, s := range Sites() {
		known = append(known, string(s.Currency))
	}
	return "", fmt.Errorf("is not a currency that Wallet Connect charges in (%s)", strings.Join(known, ", "))
}

const (
	// MaxText is the length of the longest text that [Parse] accepts, in bytes.
	MaxText = 32
	// maxMinor limits an amount to twelve digits before the point, far more than
	// any payment and far less than an overflow.
	maxMinor = 1_000_000_000_000_00 - 1
)

// The errors of [Parse] and [FromMinor].
var (
	ErrSyntax   = errors.New("is not a decimal number")
	ErrPositive = errors.New("is not greater than zero")
	ErrTooLarge = errors.New("has more than twelve digits before the point")
	ErrTooFine  = errors.New("is finer than its currency")
)

// Amount is a positive sum of money. Its zero value is no amount.
// Amounts of the same money are equal with ==.
type Amount struct {
	minor    int64
	currency Currency
}

// Parse parses the text of a JSON number or a decimal string. It accepts every
// spelling of a number, such as 7.005e2, and never rounds: it returns ErrTooFine
// for an amount that is finer than its currency.
func Parse(text string, c Currency) (Amount, error) {
	site, ok := SiteOf(c)
	if !ok {
		return Amount{}, fmt.Errorf("currency %q: unknown", c)
	}
	if minor, ok := parsePlain(text, site.Scale); ok {
		return Amount{minor: minor, currency: c}, nil
	}
	// Because the library would build a huge number for an exponent of many digits.
	if len(text) == 0 || len(text) > MaxText || exponentDigits(text) > 3 || strings.Trim(text, "0123456789+-.eE") != "" {
		return Amount{}, ErrSyntax
	}
	d, err := decimal.NewFromString(text)
	if err != nil {
		return Amount{}, ErrSyntax
	}
	if d.Sign() <= 0 {
		return Amount{}, ErrPositive
	}
	if d.GreaterThanOrEqual(decimal.New(1, 12)) {
		return Amount{}, ErrTooLarge
	}
	minor := d.Shift(site.Scale)
	if !minor.IsInteger() {
		return Amount{}, fmt.Errorf("%w: %s has %d decimal places", ErrTooFine, c, site.Scale)
	}
	return Amount{minor: minor.IntPart(), currency: c}, nil
}

// parsePlain parses the usual spelling of an amount, with up to twelve digits
// and no more than scale digits after a point, without the library's big
// numbers. ok is false for every other text, valid or not.
func parsePlain(text string, scale int32) (minor int64, ok bool) {
	whole, fraction, point := strings.Cut(text, ".")
	if whole == "" || len(whole) > 12 || len(fraction) > int(scale) || point == (fraction == "") {
		return 0, false
	}
	for _, digits := range [...]string{whole, fraction} {
		for i := range len(digits) {
			if digits[i] < '0' || digits[i] > '9' {
				return 0, false
			}
			minor = minor*10 + int64(digits[i]-'0')
		}
	}
	for range int(scale) - len(fraction) {
		minor *= 10
	}
	return minor, minor > 0
}

// exponentDigits returns how many digits the exponent of a number has.
func exponentDigits(text string) int {
	i := strings.IndexAny(text, "eE")
	if i < 0 {
		return 0
	}
	return len(strings.TrimLeft(text[i+1:], "+-"))
}

// Currency returns the amount's currency.
func (a Amount) Currency() Currency { return a.currency }

// IsZero reports whether there is no amount.
func (a Amount) IsZero() bool { return a == Amount{} }

// Minor returns the amount in the currency's smallest unit, such as cents.
func (a Amount) Minor() int64 { return a.minor }

// Units returns a sum of minor units in units of a currency that is known, for
// metrics: a floating-point number is not exact.
func Units(minor int64, c Currency) float64 {
	site, _ := SiteOf(c)
	return float64(minor) / math.Pow10(int(site.Scale))
}

// FromMinor returns the amount of a whole number of smallest units.
func FromMinor(minor int64, c Currency) (Amount, error) {
	if _, ok := SiteOf(c); !ok {
		return Amount{}, fmt.Errorf("currency %q: unknown", c)
	}
	if minor <= 0 {
		return Amount{}, ErrPositive
	}
	if minor > maxMinor {
		return Amount{}, ErrTooLarge
	}
	return Amount{minor: minor, currency: c}, nil
}

// String returns the amount with exactly the decimal places of its currency and no
// exponent: 700.50, or 700 if the currency has none. The text is also a valid JSON
// number.
func (a Amount) String() string {
	site, ok := SiteOf(a.currency)
	if !ok {
		return ""
	}
	digits := strconv.FormatInt(a.minor, 10)
	if site.Scale == 0 {
		return digits
	}
	if missing := int(site.Scale) + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - int(site.Scale)
	return digits[:point] + "." + digits[point:]
}
