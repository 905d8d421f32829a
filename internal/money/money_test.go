package money_test

import (
	"errors"
	"testing"

	"github.com/shopspring/decimal"

	"payment-capture/internal/money"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text     string
		currency money.Currency
		want     string
		err      error
	}{
		{"700.50", "MXN", "700.50", nil},
		{"700.5", "MXN", "700.50", nil},
		{"700", "MXN", "700.00", nil},
		{"7.005e2", "MXN", "700.50", nil},
		{"70050E-2", "MXN", "700.50", nil},
		{"700.500", "MXN", "700.50", nil},
		{"0.01", "BRL", "0.01", nil},
		{"999999999999.99", "MXN", "999999999999.99", nil},
		{"15000", "CLP", "15000", nil},
		{"15000.00", "CLP", "15000", nil},
		{"15000.50", "CLP", "", money.ErrTooFine},
		{"15000.5", "COP", "", money.ErrTooFine},
		{"700.505", "MXN", "", money.ErrTooFine},
		{"1e-400", "MXN", "", money.ErrTooFine},
		{"0", "MXN", "", money.ErrPositive},
		{"0.00", "MXN", "", money.ErrPositive},
		{"-1", "MXN", "", money.ErrPositive},
		{"1000000000000", "MXN", "", money.ErrTooLarge},
		{"1e400", "MXN", "", money.ErrTooLarge},
		{"1e999999999", "MXN", "", money.ErrSyntax},
		{"", "MXN", "", money.ErrSyntax},
		{"NaN", "MXN", "", money.ErrSyntax},
		{"Inf", "MXN", "", money.ErrSyntax},
		{"0x10", "MXN", "", money.ErrSyntax},
		{"1,50", "MXN", "", money.ErrSyntax},
		{" 1", "MXN", "", money.ErrSyntax},
		{"1.2.3", "MXN", "", money.ErrSyntax},
		{"111111111111111111111111111111111111111", "MXN", "", money.ErrSyntax},
	} {
		got, err := money.Parse(tc.text, tc.currency)
		if !errors.Is(err, tc.err) || got.String() != tc.want {
			t.Errorf("Parse(%q, %s) = %q, %v; want %q, %v", tc.text, tc.currency, got, err, tc.want, tc.err)
		}
	}
	if _, err := money.Parse("1", "USD"); err == nil {
		t.Error("Parse accepts a currency that no site has")
	}
}

// TestParseAgreesWithTheLibrary: the usual spellings are read without it.
func TestParseAgreesWithTheLibrary(t *testing.T) {
	t.Parallel()
	accepted := 0
	for _, c := range []money.Currency{"MXN", "CLP"} {
		site, _ := money.SiteOf(c)
		for _, whole := range []string{"", "0", "00", "7", "007", "10", "700", "999999999999", "1000000000000", "-7", "+7", "7e0", "/", ":"} {
			for _, fraction := range []string{"", ".", ".0", ".00", ".5", ".05", ".50", ".500", ".505", ".99", ".5e1", "./", ".:", ".-1"} {
				text := whole + fraction
				d, err := decimal.NewFromString(text)
				ok := err == nil && d.IsPositive() && d.LessThan(decimal.New(1, 12)) && d.Shift(site.Scale).IsInteger()
				a, err := money.Parse(text, c)
				if (err == nil) != ok {
					t.Errorf("Parse(%q, %s) = %q, %v; the library reads %s", text, c, a, err, d)
				}
				if !ok {
					continue
				}
				accepted++
				if a.Minor() != d.Shift(site.Scale).IntPart() || a.String() != d.StringFixed(site.Scale) {
					t.Errorf("Parse(%q, %s) = %q, %d in its smallest unit; the library reads %s", text, c, a, a.Minor(), d)
				}
			}
		}
	}
	if accepted < 50 {
		t.Errorf("only %d of the texts are amounts", accepted)
	}
}

func TestEverySiteIsFoundByItsCurrency(t *testing.T) {
	t.Parallel()
	for _, want := range money.Sites() {
		got, ok := money.SiteOf(want.Currency)
		if !ok || got != want {
			t.Errorf("SiteOf(%s) = %v, %v; want %v", want.Currency, got, ok, want)
		}
	}
	if _, err := money.ParseCurrency("USD"); err == nil {
		t.Error("ParseCurrency accepts USD")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"700.50", "1e2", "0.001", "-5", "9e99", "00.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := money.Parse(text, "MXN")
		if err != nil {
			return
		}
		again, err := money.Parse(a.String(), "MXN")
		if err != nil || again != a {
			t.Errorf("%q gave %q, which reads as %q, %v", text, a, again, err)
		}
		byMinor, err := money.FromMinor(a.Minor(), "MXN")
		if err != nil || byMinor != a {
			t.Errorf("FromMinor(%d) = %q, %v; want %q", a.Minor(), byMinor, err, a)
		}
	})
}
