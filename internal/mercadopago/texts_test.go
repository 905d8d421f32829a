package mercadopago

import (
	"math/big"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"payment-capture/internal/event"
	"payment-capture/internal/secret"
)

func TestScrubber(t *testing.T) {
	t.Parallel()
	const odd = `to"ken\with/odd+chars=0123456789`
	s := newScrubber(accessToken, payerToken, odd, "short", "")
	for name, text := range map[string]string{
		"whole":        "token " + payerToken + " is invalid",
		"bearer":       "Bearer " + accessToken,
		"upper case":   strings.ToUpper(payerToken),
		"cut":          "token " + payerToken[:20] + "... is invalid",
		"middle":       payerToken[30:50],
		"both joined":  accessToken + payerToken,
		"quoted":       `"to\"ken\\with/odd+chars=0123456789"`,
		"URL":          "to%22ken%5Cwith%2Fodd%2Bchars%3D0123456789",
		"short":        "a short one",
		"after a rune": "é" + payerToken,
		"many":         strings.Repeat(payerToken+" ", 1000),
	} {
		got := s.text(text, maxDetail)
		for _, piece := range []string{payerToken[:gramSize], payerToken[32:44], accessToken[10:30], "odd", "short"} {
			if strings.Contains(strings.ToLower(got), strings.ToLower(piece)) {
				t.Errorf("%s: got %q", name, got)
			}
		}
		if !strings.Contains(got, "[redacted]") || len(got) > maxDetail {
			t.Errorf("%s: got %q", name, got)
		}
	}
	for token, text := range map[string]string{"x": "axb", "xy": "XY", "key": "a key!", "short": "sshort", "0123456789a": "0123456789A"} {
		s := newScrubber(accessToken).with(&Request{payer: token})
		if got := s.text(text, maxDetail); strings.Contains(strings.ToLower(got), token) || !strings.Contains(got, "[redacted]") {
			t.Errorf("the token %q: got %q", token, got)
		}
	}
	for text, want := range map[string]string{
		"plain text, ñ":                 "plain text, ñ",
		"two\r\nlines\x1b[0m\u202e\xff": "two??lines?[0m??",
		payerToken[:gramSize-1]:         payerToken[:gramSize-1],
		"":                              "",
	} {
		if got := s.text(text, maxDetail); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := s.text(strings.Repeat("é", 100), 9); got != "éééé" || !utf8.ValidString(got) {
		t.Errorf("got %q, cut within a character", got)
	}
}

// TestScrubberFindsEveryPiece checks every piece of each secret, in each spelling,
// whatever surrounds it. No text with a piece may be skipped by the filter.
func TestScrubberFindsEveryPiece(t *testing.T) {
	t.Parallel()
	const odd = `to"ken\with/odd+chars=0123456789`
	s := newScrubber(accessToken).with(&Request{payer: payerToken}).with(&Request{payer: odd})
	for _, form := range []string{
		accessToken, payerToken, odd, url.QueryEscape(payerToken), url.QueryEscape(odd), strings.Trim(strconv.Quote(odd), `"`),
	} {
		for i := range len(form) - gramSize + 1 {
			for _, piece := range []string{form[i : i+gramSize], strings.ToUpper(form[i : i+gramSize])} {
				for _, text := range []string{piece, "HTTP 400: " + piece, piece + " is wrong", "\xff" + piece + "é"} {
					if got := s.text(text, maxDetail); strings.Contains(got, piece) || !strings.Contains(got, "[redacted]") {
						t.Errorf("%q: got %q", text, got)
					}
				}
			}
		}
	}
}

// TestCredentialFollowsTheToken checks that a credential is derived once from each
// token.
func TestCredentialFollowsTheToken(t *testing.T) {
	t.Parallel()
	token := secret.New(accessToken)
	c, err := New(Config{URL: "http://api.example", Timeout: time.Second, MaxConnections: 1}, func() secret.Text { return token })
	if err != nil {
		t.Fatal(err)
	}
	before := c.credential()
	if c.credential() != before {
		t.Error("the credential is derived again though the token is the same")
	}
	other := strings.ToUpper(payerToken)
	token = secret.New(other)
	after := c.credential()
	if got := after.authorization; len(got) != 1 || got[0] != "Bearer "+other {
		t.Errorf("got %q for the new token", got)
	}
	if got := after.scrub.text("Bearer "+other, maxDetail); got != "Bearer [redacted]" {
		t.Errorf("got %q", got)
	}
	token = secret.New("")
	if c.credential() != nil {
		t.Error("an empty token is taken")
	}
}

// TestPayerTokenOfAnyRequest covers requests that NewRequest made, and others.
func TestPayerTokenOfAnyRequest(t *testing.T) {
	t.Parallel()
	made := sampleRequest(t)
	byHand := Request{Key: made.Key, Body: made.Body, Amount: made.Amount}
	for _, r := range []*Request{&made, &byHand} {
		if got := r.payerToken(); got != payerToken {
			t.Errorf("got %q", got)
		}
	}
}

// TestTokensInAnswers plants the tokens in every text of an answer.
func TestTokensInAnswers(t *testing.T) {
	t.Parallel()
	approved, rejected := testdata(t, "approved"), testdata(t, "rejected_card")
	for _, token := range []string{payerToken, accessToken} {
		for _, tt := range []struct {
			status int
			body   string
		}{
			{400, `{"message":"token ` + token + ` is not valid","cause":[{"code":"` + token + `","description":"` + token + `"}]}`},
			{401, `{"error":"` + token + `"}`},
			{401, `{"status":"401","message":"Bearer ` + token + `"}`},
			{403, token},
			{500, `bad ` + token},
			{201, mustReplace(t, approved, `"visa"`, `"`+token+`"`)},
			{201, mustReplace(t, approved, `"Pago_123"`, `"`+token+`"`)},
			{201, mustReplace(t, approved, `"MLM"`, `"`+token+`"`)},
			{201, mustReplace(t, approved, `10458724`, `"`+token+`"`)},
			{201, mustReplace(t, approved, `786547`, `"`+token+`"`)},
			{201, mustReplace(t, approved, `700.50`, `"`+token+`"`)},
			{201, mustReplace(t, approved, `"status":"approved","wallet`, `"status":"`+token+`","wallet`)},
			{201, mustReplace(t, rejected, `cc_rejected_other_reason`, token)},
			{201, mustReplace(t, approved, `{"id":786547}`, `{"id":1,"token":"`+token+`","email":"a@b"}`)},
		} {
			checkSound(t, judge(sampleRequest(t), tt.status, tt.body))
		}
	}
}

// TestShortTokensSpoilNoAnswer covers payer tokens that are so short that they occur
// in any word. Ids, statuses and amounts are published, and decide, so they stay
// whole.
func TestShortTokensSpoilNoAnswer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"approved", "rejected_card", "rejected_no_balance"} {
		want := judge(sampleRequest(t), 201, testdata(t, name))
		for _, token := range []string{"1", "0", ".", "e", "c", "risk", "visa", "approved", "rejected", "other_reaso", "10458724"} {
			e := *sampleEvent(t)
			e.PayerToken = secret.New(token)
			r, err := NewRequest(&e)
			if err != nil {
				t.Fatal(err)
			}
			got := judge(r, 201, testdata(t, name))
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Answer{}, "Detail")); diff != "" {
				t.Errorf("%s, with the token %q (-want +got):\n%s", name, token, diff)
			}
		}
	}
	s := newScrubber("short", "0123456789ab")
	for text, want := range map[string]string{
		"too_short_2.50":   "too_short_2.50",
		"too short":        "too [redacted]",
		"x0123456789ABx":   "x[redacted]x",
		"cc_0123456789":    "cc_0123456789",
		"is 0123456789ab.": "is [redacted].",
	} {
		if got := s.word(text); got != want {
			t.Errorf("the word %q: got %q, want %q", text, got, want)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"7":                              7 * time.Second,
		" 30 ":                           30 * time.Second,
		"900":                            15 * time.Minute,
		"901":                            15 * time.Minute,
		"99999999999999999999999":        15 * time.Minute,
		"9223372036854775807":            15 * time.Minute,
		"-5":                             0,
		"+5":                             0,
		"1.5":                            0,
		"5s":                             0,
		"soon":                           0,
		"Mon, 23 Nov 2026 10:00:20 GMT":  20 * time.Second,
		"Mon, 23 Nov 2026 09:00:20 GMT":  0,
		"Mon, 23 Nov 2099 10:00:20 GMT":  15 * time.Minute,
		"Monday, 23-Nov-26 10:00:20 GMT": 20 * time.Second,
		"2026-11-23T10:00:20Z":           0,
	} {
		if got := parseRetryAfter(value, now); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, seed := range []string{
		"", "0", "7", "-1", "+1", "1e3", "1.5", "0x10", "NaN", "99999999999999999999", "9223372036854775808", "000000000000000000000007", "7, 8",
		"7;q=1",
		"٧", "７", "7\r\nX: 1", "\x00", "\xff", now.Format(http.TimeFormat), now.Add(time.Minute).Format(time.RFC850),
		now.Add(time.Hour).Format(time.ANSIC),
		"Mon, 99 Nov", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Sat, 31 Dec 2016 23:59:60 GMT",
		"Mon, 23 Nov 2026 10:00:20 CET",
	} {
		f.Add(seed, now.Unix())
	}
	f.Add("Fri, 31 Dec 9999 23:59:59 GMT", int64(-62135596800))
	f.Fuzz(func(t *testing.T, value string, unix int64) {
		now := time.Unix(unix%(1<<37), 0).UTC() // some four thousand years around 1970
		got := parseRetryAfter(value, now)
		if got < 0 || got > maxRetryAfter {
			t.Fatalf("%q: got %s", value, got)
		}
		if spaced := parseRetryAfter(" "+value+"\t", now); spaced != got {
			t.Fatalf("%q: got %s, and %s with spaces around it", value, got, spaced)
		}
		if later := parseRetryAfter(value, now.Add(time.Second)); later > got || got > later+time.Second {
			t.Fatalf("%q: got %s, and %s a second later", value, got, later)
		}
		digits := strings.TrimSpace(value)
		if seconds, ok := new(big.Int).SetString(digits, 10); ok && digits[0] >= '0' && digits[0] <= '9' &&
			strings.Trim(digits, "0123456789") == "" {
			if want := min(seconds.Uint64(), 900); seconds.BitLen() <= 64 && got != time.Duration(want)*time.Second {
				t.Fatalf("%q: got %s, want %d seconds", value, got, want)
			}
		}
		if at := now.Add(time.Duration(len(value)) * time.Second); at.Year() > 0 && at.Year() < 10_000 {
			if got, want := parseRetryAfter(at.Format(http.TimeFormat), now), min(at.Sub(now), maxRetryAfter); got != want {
				t.Fatalf("%s after %s: got %s, want %s", at, now, got, want)
			}
		}
	})
}

func TestClassify(t *testing.T) {
	t.Parallel()
	tests := []struct {
		category event.Category
		retry    event.Retry
		reasons  []string
	}{
		{event.CategoryInsufficientFunds, event.RetryLater, []string{
			"insufficient_money", "insufficient_amount", "cc_rejected_insufficient_amount",
		}},
		{event.CategoryDeclined, event.RetryLater, []string{
			"cc_rejected_other_reason", "rejected_other_reason", "rejected_by_bank", "bank_error", "cc_rejected_time_out",
			"cc_rejected_card_error",
		}},
		{event.CategoryDeclined, event.RetryBuyerAction, []string{
			"cc_rejected_call_for_authorize", "cc_rejected_max_attempts", "cc_amount_rate_limit_exceeded",
			"cc_rejected_3ds_challenge", "cc_rejected_3ds_mandatory",
		}},
		{event.CategoryInvalidPaymentMethod, event.RetryBuyerAction, []string{
			"cc_rejected_card_disabled", "cc_rejected_card_type_not_allowed", "cc_rejected_bad_filled_card_number",
			"cc_rejected_bad_filled_date", "cc_rejected_bad_filled_security_code", "cc_rejected_bad_filled_other",
			"cc_rejected_invalid_installments",
		}},
		{event.CategoryFraud, event.RetryBuyerAction, []string{
			"cc_rejected_high_risk", "rejected_high_risk", "cc_rejected_blacklist",
		}},
		{event.CategoryOther, event.RetryNever, []string{
			ReasonDuplicatedPayment, "rejected_by_regulations", "rejected_by_biz_rule", "rejected_insufficient_data",
			"payer_permission",
		}},
		{event.CategoryAgreementCancelled, event.RetryBuyerAction, []string{reasonPayerToken}},
		{event.CategoryOther, event.RetryBuyerAction, []string{"payer_not_found"}},
		{event.CategoryDeclined, event.RetryNever, []string{"rejected_unspecified", "cc_rejected_of_tomorrow", "", "Insufficient_money"}},
	}
	for _, tt := range tests {
		for _, reason := range tt.reasons {
			if category, retry := Classify(reason); category != tt.category || retry != tt.retry {
				t.Errorf("%q: got %s, %s, want %s, %s", reason, category, retry, tt.category, tt.retry)
			}
		}
	}
}
