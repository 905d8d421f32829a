package simulator_test

import (
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/simulator"
)

func TestParseScript(t *testing.T) {
	t.Parallel()
	got, err := simulator.ParseScript(strings.NewReader(`{
		"payers": [{"token": "ana", "balance": "10.50", "agreement": "a1", "decline": "cc_rejected_blacklist"}],
		"rules": [{"name": "slow", "match": {"amount": "13", "from_try": 1, "to_try": 2, "probability": 0.5}, "times": 3,
			"action": "usual", "delay": "1m30s"}],
		"switches": {"cancelled_token_status": 201, "cause_codes": "int"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := simulator.Script{
		Payers: []simulator.Payer{{Token: "ana", Balance: "10.50", Agreement: "a1", Decline: "cc_rejected_blacklist"}},
		Rules: []simulator.Rule{{
			Name: "slow", Match: simulator.Match{Amount: "13", FromTry: 1, ToTry: 2, Probability: new(0.5)},
			Times: 3, Action: simulator.ActionUsual, Delay: simulator.Duration(90 * time.Second),
		}},
		Switches: simulator.Switches{CancelledTokenStatus: 201, CauseCodes: simulator.CodeInt},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := simulator.ParseScript(strings.NewReader(string(text))); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("written and read again: got %+v, %v", again, err)
	}
}

func TestParseScriptErrors(t *testing.T) {
	t.Parallel()
	rule := func(text string) string { return `{"rules":[{"action":"approve"},{` + text + `}]}` }
	for text, want := range map[string]string{
		``:                             "EOF",
		`{`:                            "EOF",
		`[]`:                           "array",
		`{} {}`:                        "follows",
		`{"payer":[]}`:                 `"payer"`,
		`{"payers":[{"balance":"1"}]}`: "payers[0].token",
		`{"payers":[{"tok":"1"}]}`:     `"tok"`,
		`{"payers":[{"token":"hush"},{"token":"hush"}]}`:                           "payers[1].token: is given twice",
		`{"payers":[{"token":"a","agreement":"x"},{"token":"b","agreement":"x"}]}`: "payers[1].agreement",
		`{"payers":[{"token":"a","balance":"-1"}]}`:                                "payers[0].balance",
		`{"payers":[{"token":"a","balance":"1e9"}]}`:                               "payers[0].balance",
		`{"payers":[{"token":"a","balance":"1.2.3"}]}`:                             "payers[0].balance",
		`{"payers":[{"token":"a","state":"dead"}]}`:                                "payers[0].state: dead is none of active, cancelled",
		rule(`"action":"explode"`):                                                 `rules[1].action: "explode" is unknown`,
		rule(`"name":"no action"`):                                                 "rules[1].action",
		rule(`"action":"drop","retry_after":1`):                                    `rules[1].retry_after: has no meaning for action "drop"`,
		rule(`"action":"approve","charge":true`):                                   "rules[1].charge",
		rule(`"action":"drop","charge":true,"burn":true`):                          "rules[1].burn",
		rule(`"action":"decline"`):                                                 "rules[1].status_detail",
		rule(`"action":"contradict","top":"approved"`):                             "rules[1].top, child",
		rule(`"action":"wrong_echo","echo":"date"`):                                "rules[1].echo",
		rule(`"action":"in_process","then":{"status":"approved"}`):                 "rules[1].then.after_gets",
		rule(`"action":"in_process","then":{"status":"x","after_gets":1}`):         "rules[1].then.status",
		rule(`"action":"error"`):                                                   "rules[1].status",
		rule(`"action":"html","status":99`):                                        "rules[1].status",
		rule(`"action":"error","status":500,"code_style":"roman"`):                 "rules[1].code_style",
		rule(`"action":"unauthorized","shape":"round"`):                            "rules[1].shape",
		rule(`"action":"too_many_requests","retry_after":-1`):                      "rules[1].retry_after",
		rule(`"action":"drop","delay":"soon"`):                                     `"soon" is no duration`,
		rule(`"action":"drop","delay":"-1s"`):                                      "rules[1].delay",
		rule(`"action":"drop","times":-1`):                                         "rules[1].times",
		rule(`"action":"drop","match":{"amount":"x"}`):                             "rules[1].match.amount",
		rule(`"action":"drop","match":{"from_try":3,"to_try":2}`):                  "rules[1].match.from_try",
		rule(`"action":"drop","match":{"probability":0}`):                          "rules[1].match.probability",
		rule(`"action":"drop","match":{"probability":1.5}`):                        "rules[1].match.probability",
		rule(`"action":"drop","match":{"on":"tuesday"}`):                           "rules[1].match.on",
		rule(`"action":"drop","match":{"on":"get","key":"k"}`):                     "rules[1].match.on",
		rule(`"action":"drop","charge":true,"match":{"on":"get"}`):                 "rules[1].charge",
		rule(`"action":"approve","match":{"on":"search"}`):                         "rules[1].action",
		`{"switches":{"replay":"never"}}`:                                          "switches.replay",
		`{"switches":{"cancelled_token_status":500}}`:                              "switches.cancelled_token_status",
		`{"switches":{"cause_codes":"roman"}}`:                                     "switches.cause_codes",
		`{"switches":{"unauthorized_shape":"round"}}`:                              "switches.unauthorized_shape",
		`{"switches":{"mood":"good"}}`:                                             `"mood"`,
	} {
		_, err := simulator.ParseScript(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error contains the payer token: %v", text, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]simulator.Config{
		"Site":               {Site: "MLZ"},
		"Latency":            {Latency: -1},
		"KeyRetention":       {KeyRetention: -1},
		"SearchDelay":        {SearchDelay: -1},
		"RefundDelay":        {RefundDelay: -1},
		"DefaultBalance":     {DefaultBalance: "much"},
		"Script: rules[0].a": {Script: simulator.Script{Rules: []simulator.Rule{{}}}},
	} {
		if _, err := simulator.New(cfg); err == nil || !strings.Contains(err.Error(), "simulator: "+field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{})
	bad := simulator.Script{
		Payers: []simulator.Payer{{Token: "p", State: "cancelled"}},
		Rules:  []simulator.Rule{{Action: simulator.ActionLocked}, {Action: "none"}},
	}
	if err := s.Apply(bad); err == nil {
		t.Fatal("got no error")
	}
	capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 201)
}

func TestControls(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, simulator.Config{AccessToken: "APP_USR-1"})
	control := func(method, path, text string) answer {
		return do(t.Context(), s, method, "/_simulator/"+path, text, http.Header{"Authorization": {""}})
	}
	control(http.MethodGet, "health", "").wantStatus(t, 200)
	control(http.MethodPost, "script", `{"rules":[{"action":"locked"}]}`).wantStatus(t, 204)
	capture(t, s, "k", body("r", "1", "p")).wantStatus(t, 423)
	if a := control(http.MethodPost, "script", `{"rules":[{"act":"locked"}]}`).wantStatus(t, 400); !strings.Contains(a.body, "act") {
		t.Errorf("got %s", a.body)
	}
	control(http.MethodDelete, "script", "").wantStatus(t, 204)
	capture(t, s, "k", body("r", "1.10", "very-secret")).wantStatus(t, 201)
	control(http.MethodPost, "forget-keys", "").wantStatus(t, 204)
	capture(t, s, "k", body("r", "1.10", "very-secret")).wantStatus(t, 201)

	control(http.MethodPost, "token", `{"state":"blocked"}`).wantStatus(t, 204)
	capture(t, s, "k", body("r", "1.10", "p")).wantStatus(t, 403)
	control(http.MethodPost, "token", `{"state":"ok","access_token":"new"}`).wantStatus(t, 204)
	capture(t, s, "k", body("r", "1.10", "p")).wantStatus(t, 401)
	control(http.MethodPost, "token", `{"state":"lost"}`).wantStatus(t, 400)
	control(http.MethodPost, "token", `{"status":"ok"}`).wantStatus(t, 400)

	a := control(http.MethodGet, "charges", "").wantStatus(t, 200)
	var charges struct {
		Double []string `json:"double_charges"`
		ByKey  map[string]struct {
			Count int
			Sum   string
		} `json:"by_key"`
		Calls int
	}
	a.decode(t, &charges)
	if len(charges.Double) != 1 || charges.ByKey["k"].Count != 2 || charges.ByKey["k"].Sum != "2.2" || charges.Calls != 5 {
		t.Errorf("got %s", a.body)
	}
	if strings.Contains(a.body, "very-secret") || strings.Contains(a.body, "APP_USR") {
		t.Errorf("the charges contain a token: %s", a.body)
	}
}

// TestDocumentation parses every script that the documentation shows.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) < 2 {
		t.Errorf("got %d scripts, want two at least", len(blocks))
	}
	for _, block := range blocks {
		if _, err := simulator.ParseScript(strings.NewReader(string(block[1]))); err != nil {
			t.Errorf("%s: %v", block[1], err)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add(`{"payers":[{"token":"a","balance":"1.50"}]}`)
	f.Add(`{"rules":[{"match":{"amount":"1","probability":0.5},"action":"error","status":500,"delay":"1s"}]}`)
	f.Add(`{"rules":[{"action":"in_process","then":{"status":"approved","after_gets":1}}],"switches":{"json":"malformed"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		script, err := simulator.ParseScript(strings.NewReader(text))
		if err != nil {
			return
		}
		if _, err := simulator.New(simulator.Config{Script: script}); err != nil {
			t.Errorf("a script that was parsed is refused: %v", err)
		}
		written, err := json.Marshal(script)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := simulator.ParseScript(strings.NewReader(string(written))); err != nil {
			t.Errorf("%s: %v", written, err)
		}
	})
}

func FuzzCapture(f *testing.F) {
	f.Add(body("r", "700.50", "p"))
	f.Add(`{"wallet_payment":{"transaction_amount":.,"external_reference":1},"payer":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := newSimulator(t, simulator.Config{})
		a := capture(t, s, "k", text)
		if (a.status == http.StatusCreated) != (len(s.Charges().List) == 1) {
			t.Errorf("got %d and %d charges", a.status, len(s.Charges().List))
		}
		if !json.Valid([]byte(a.body)) {
			t.Errorf("got %q, no JSON", a.body)
		}
	})
}
