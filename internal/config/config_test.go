package config_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/config"
)

// setEnv makes the environment that of the test alone: none of our variables,
// the required ones, and then those given, as NAME=value.
func setEnv(t *testing.T, variables ...string) {
	t.Helper()
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value) // puts it back after the test
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, kv := range append([]string{"MERCADOPAGO_ACCESS_TOKEN=" + accessToken, "CURRENCY=MXN"}, variables...) {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
}

// Secrets that no text may show.
const (
	accessToken = "APP_USR-planted-token"
	password    = "planted-password"
)

func TestDefaultsAreGood(t *testing.T) {
	setEnv(t)
	c, err := config.Read()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if c.InstanceID != host || c.MercadoPagoAccessToken.Reveal() != accessToken || c.Currency != "MXN" {
		t.Errorf("got %+v", c)
	}
	if len(c.KafkaBrokers) != 1 || c.KafkaBrokers[0] != "localhost:9092" || c.CaptureDeadline != 15*time.Minute ||
		c.MaxInFlight != 256 || c.TopicInput != "order.ready_to_capture" || c.CloudEventsMode != "structured" ||
		c.TopicLedger != "payment-capture.ledger" || c.LedgerDir != "" || c.CaptureMaxEventAge != 7*24*time.Hour ||
		c.CaptureOncePer != config.OncePerPayment || c.DuplicateWindow != 7*24*time.Hour || c.ReplayedOutcomes != config.ReplayedEmit {
		t.Errorf("the defaults are %+v", c)
	}
}

func TestTableHasTheDefaults(t *testing.T) {
	setEnv(t)
	c, err := config.Read()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, row := range c.Table() {
		if row.Name == "" || row.Description == "" || seen[row.Name] {
			t.Errorf("row %+v: no name, no description, or twice", row)
		}
		seen[row.Name] = true
		if d, err := time.ParseDuration(row.Default); err == nil {
			if value, err := time.ParseDuration(row.Value); err != nil || value != d {
				t.Errorf("%s is %q, its default %q", row.Name, row.Value, row.Default)
			}
		} else if row.Default != "" && !strings.EqualFold(row.Default, row.Value) {
			t.Errorf("%s is %q, its default %q", row.Name, row.Value, row.Default)
		}
	}
}

// setting is an environment, and the variables that the error has to name, in
// any order; with none there is no error.
type setting struct{ set, want []string }

func TestProblemsOfKafka(t *testing.T) {
	testProblems(t, map[string]setting{
		"no brokers":              {[]string{"KAFKA_BROKERS="}, []string{"KAFKA_BROKERS"}},
		"broker without a port":   {[]string{"KAFKA_BROKERS=a:1,b"}, []string{"KAFKA_BROKERS"}},
		"no group":                {[]string{"KAFKA_GROUP="}, []string{"KAFKA_GROUP"}},
		"accepted nonsense":       {[]string{"KAFKA_ACCEPT_OFFSETS=0:12,1"}, []string{"KAFKA_ACCEPT_OFFSETS"}},
		"start at nonsense":       {[]string{"KAFKA_START_AT=yesterday"}, []string{"KAFKA_START_AT"}},
		"session timeout":         {[]string{"KAFKA_SESSION_TIMEOUT=10ms"}, []string{"KAFKA_SESSION_TIMEOUT"}},
		"requests too small":      {[]string{"KAFKA_MAX_REQUEST_BYTES=99999"}, []string{"KAFKA_MAX_REQUEST_BYTES"}},
		"requests too large":      {[]string{"KAFKA_MAX_REQUEST_BYTES=104857601"}, []string{"KAFKA_MAX_REQUEST_BYTES"}},
		"requests for Event Hubs": {[]string{"KAFKA_MAX_REQUEST_BYTES=1046528"}, nil},
		"files without TLS":       {[]string{"KAFKA_TLS_CA_FILE=/ca"}, []string{"KAFKA_TLS_ENABLED"}},
		"key file without TLS":    {[]string{"KAFKA_TLS_KEY_FILE=/key"}, []string{"KAFKA_TLS_ENABLED"}},
		"user without SASL":       {[]string{"KAFKA_SASL_USER=u"}, []string{"KAFKA_SASL_MECHANISM"}},
		"password without SASL":   {[]string{"KAFKA_SASL_PASSWORD=" + password}, []string{"KAFKA_SASL_MECHANISM"}},
		"unknown mechanism":       {[]string{"KAFKA_SASL_MECHANISM=GSSAPI"}, []string{"KAFKA_SASL_MECHANISM"}},
		"SASL with nothing":       {[]string{"KAFKA_SASL_MECHANISM=PLAIN"}, []string{"KAFKA_SASL_USER", "KAFKA_SASL_PASSWORD"}},
		"SASL with two passwords": {[]string{
			"KAFKA_SASL_MECHANISM=OAUTHBEARER", "KAFKA_SASL_PASSWORD=" + password,
			"KAFKA_SASL_PASSWORD_FILE=/p",
		}, []string{"KAFKA_SASL_PASSWORD"}},
		"MSK without TLS":     {[]string{"KAFKA_SASL_MECHANISM=AWS_MSK_IAM"}, []string{"KAFKA_TLS_ENABLED"}},
		"MSK with a password": {[]string{"KAFKA_SASL_MECHANISM=AWS_MSK_IAM", "KAFKA_TLS_ENABLED=true", "KAFKA_SASL_USER=u"}, []string{"KAFKA_SASL_MECHANISM"}},
		"tokens without a client": {[]string{
			"KAFKA_SASL_MECHANISM=OAUTHBEARER", "KAFKA_SASL_PASSWORD=" + password,
			"KAFKA_OAUTH_TOKEN_URL=https://idp/token",
		}, []string{"KAFKA_SASL_USER"}},
		"tokens in plain text": {[]string{
			"KAFKA_SASL_MECHANISM=OAUTHBEARER", "KAFKA_SASL_USER=u", "KAFKA_SASL_PASSWORD=" + password,
			"KAFKA_OAUTH_TOKEN_URL=http://idp/token",
		}, []string{"KAFKA_OAUTH_TOKEN_URL"}},
		"tokens for SCRAM": {[]string{
			"KAFKA_SASL_MECHANISM=SCRAM-SHA-256", "KAFKA_SASL_USER=u", "KAFKA_SASL_PASSWORD=" + password,
			"KAFKA_OAUTH_TOKEN_URL=https://idp/token",
		}, []string{"KAFKA_OAUTH_TOKEN_URL"}},
		"scope without tokens": {[]string{"KAFKA_OAUTH_SCOPE=kafka"}, []string{"KAFKA_OAUTH_TOKEN_URL"}},
		"tokens": {[]string{
			"KAFKA_SASL_MECHANISM=OAUTHBEARER", "KAFKA_SASL_USER=u", "KAFKA_SASL_PASSWORD=" + password,
			"KAFKA_OAUTH_TOKEN_URL=https://idp/token", "KAFKA_OAUTH_SCOPE=kafka", "KAFKA_OAUTH_CA_FILE=/ca",
		}, nil},
		"no topic":            {[]string{"TOPIC_PAYMENT_CAPTURED="}, []string{"TOPIC_PAYMENT_CAPTURED"}},
		"parked is the input": {[]string{"TOPIC_PARKED=order.ready_to_capture"}, []string{"TOPIC_PARKED"}},
		"no ledger":           {[]string{"TOPIC_LEDGER="}, []string{"TOPIC_LEDGER"}},
		"ledger is the input": {[]string{"TOPIC_LEDGER=order.ready_to_capture"}, []string{"TOPIC_LEDGER"}},
		"ledger takes outcomes": {
			[]string{"TOPIC_LEDGER=l", "TOPIC_PAYMENT_CAPTURED=l", "TOPIC_PAYMENT_REJECTED=l"},
			[]string{"TOPIC_LEDGER", "TOPIC_LEDGER"},
		},
		"ledger takes the parked":  {[]string{"TOPIC_PARKED=payment-capture.ledger"}, []string{"TOPIC_LEDGER"}},
		"ledger and its directory": {[]string{"TOPIC_LEDGER=l", "LEDGER_DIR=/ledger"}, nil},
		"unknown mode":             {[]string{"CLOUDEVENTS_MODE=batched"}, []string{"CLOUDEVENTS_MODE"}},
		"broker with a password":   {[]string{"KAFKA_BROKERS=u:" + password + "@host:9092"}, []string{"KAFKA_BROKERS"}},
		"TLS, SASL and start": {[]string{
			"KAFKA_TLS_ENABLED=true", "KAFKA_TLS_CA_FILE=/ca", "KAFKA_SASL_MECHANISM=SCRAM-SHA-512",
			"KAFKA_SASL_USER=u", "KAFKA_SASL_PASSWORD=" + password, "KAFKA_START_AT=2026-11-23T10:00:00Z",
		}, nil},
		"outcomes share one topic": {[]string{"TOPIC_PAYMENT_REJECTED=payment.captured", "ADMIN_ADDR=off"}, nil},
	})
}

func TestProblemsOfRetention(t *testing.T) {
	const needed = "EVENT_TIME_REQUIRED=true"
	testProblems(t, map[string]setting{
		"long enough":             {[]string{"LEDGER_RETENTION=360h5m1s", needed}, nil},
		"too short by a second":   {[]string{"LEDGER_RETENTION=360h5m", needed}, []string{"LEDGER_RETENTION"}},
		"negative":                {[]string{"LEDGER_RETENTION=-1h", needed}, []string{"LEDGER_RETENTION"}},
		"events without time":     {[]string{"LEDGER_RETENTION=720h"}, []string{"EVENT_TIME_REQUIRED"}},
		"events of any age":       {[]string{"LEDGER_RETENTION=720h", needed, "CAPTURE_MAX_EVENT_AGE=0"}, []string{"CAPTURE_MAX_EVENT_AGE"}},
		"once per reference":      {[]string{"LEDGER_RETENTION=720h", needed, "CAPTURE_ONCE_PER=reference"}, []string{"CAPTURE_ONCE_PER"}},
		"duplicates for longer":   {[]string{"LEDGER_RETENTION=720h", needed, "CAPTURE_DUPLICATE_WINDOW=530h"}, []string{"LEDGER_RETENTION"}},
		"duplicates do not count": {[]string{"LEDGER_RETENTION=192h5m1s", needed, "CAPTURE_ONCE_PER=event"}, nil},
		"too short without them":  {[]string{"LEDGER_RETENTION=192h5m", needed, "CAPTURE_ONCE_PER=event"}, []string{"LEDGER_RETENTION"}},
	})
}

func TestProblems(t *testing.T) {
	testProblems(t, map[string]setting{
		"no token":                 {[]string{"MERCADOPAGO_ACCESS_TOKEN="}, []string{"MERCADOPAGO_ACCESS_TOKEN"}},
		"token twice":              {[]string{"MERCADOPAGO_ACCESS_TOKEN_FILE=/token"}, []string{"MERCADOPAGO_ACCESS_TOKEN"}},
		"no currency":              {[]string{"CURRENCY="}, []string{"CURRENCY"}},
		"unknown currency":         {[]string{"CURRENCY=EUR"}, []string{"CURRENCY"}},
		"currency in lower case":   {[]string{"CURRENCY=mxn"}, []string{"CURRENCY"}},
		"URL without a scheme":     {[]string{"MERCADOPAGO_URL=api.mercadopago.com"}, []string{"MERCADOPAGO_URL"}},
		"URL with a password":      {[]string{"MERCADOPAGO_URL=https://u:" + password + "@host"}, []string{"MERCADOPAGO_URL"}},
		"URL with a query":         {[]string{"MERCADOPAGO_URL=https://host/?a=b"}, []string{"MERCADOPAGO_URL"}},
		"API timeout":              {[]string{"MERCADOPAGO_TIMEOUT=100ms"}, []string{"MERCADOPAGO_TIMEOUT"}},
		"no captures at once":      {[]string{"CAPTURE_MAX_IN_FLIGHT=0"}, []string{"CAPTURE_MAX_IN_FLIGHT"}},
		"too many at once":         {[]string{"CAPTURE_MAX_IN_FLIGHT=10001"}, []string{"CAPTURE_MAX_IN_FLIGHT"}},
		"deadline":                 {[]string{"CAPTURE_DEADLINE=0s"}, []string{"CAPTURE_DEADLINE"}},
		"no tries":                 {[]string{"CAPTURE_MAX_TRIES=0"}, []string{"CAPTURE_MAX_TRIES"}},
		"age over the horizon":     {[]string{"CAPTURE_MAX_EVENT_AGE=9000h", "IDEMPOTENCY_KEY_HORIZON=1h"}, nil},
		"no age":                   {[]string{"CAPTURE_MAX_EVENT_AGE=0"}, nil},
		"no lead":                  {[]string{"CAPTURE_MAX_EVENT_LEAD=0"}, nil},
		"the longest lead":         {[]string{"CAPTURE_MAX_EVENT_LEAD=24h"}, nil},
		"a lead of a day and more": {[]string{"CAPTURE_MAX_EVENT_LEAD=25h"}, []string{"CAPTURE_MAX_EVENT_LEAD"}},
		"a lead within tolerance":  {[]string{"CAPTURE_MAX_EVENT_LEAD=5m"}, []string{"CAPTURE_MAX_EVENT_LEAD"}},
		"lead below zero":          {[]string{"CAPTURE_MAX_EVENT_LEAD=-1s"}, []string{"CAPTURE_MAX_EVENT_LEAD"}},
		"age below zero":           {[]string{"CAPTURE_MAX_EVENT_AGE=-1s"}, []string{"CAPTURE_MAX_EVENT_AGE"}},
		"no horizon":               {[]string{"IDEMPOTENCY_KEY_HORIZON=0s"}, []string{"IDEMPOTENCY_KEY_HORIZON"}},
		"once per what":            {[]string{"CAPTURE_ONCE_PER=order"}, []string{"CAPTURE_ONCE_PER"}},
		"once per nothing":         {[]string{"CAPTURE_ONCE_PER="}, []string{"CAPTURE_ONCE_PER"}},
		"no duplicate window":      {[]string{"CAPTURE_DUPLICATE_WINDOW=0"}, []string{"CAPTURE_DUPLICATE_WINDOW"}},
		"replayed what":            {[]string{"REPLAYED_OUTCOMES=drop"}, []string{"REPLAYED_OUTCOMES"}},
		"once per reference":       {[]string{"CAPTURE_ONCE_PER=reference", "REPLAYED_OUTCOMES=suppress"}, nil},
		"flush interval":           {[]string{"FLUSH_INTERVAL=11s"}, []string{"FLUSH_INTERVAL"}},
		"stop breaks off charges":  {[]string{"SHUTDOWN_TIMEOUT=34s"}, []string{"SHUTDOWN_TIMEOUT"}},
		"admin address":            {[]string{"ADMIN_ADDR=8080"}, []string{"ADMIN_ADDR"}},
		"several":                  {[]string{"CURRENCY=", "KAFKA_GROUP=", "ADMIN_ADDR=x"}, []string{"CURRENCY", "KAFKA_GROUP", "ADMIN_ADDR"}},
		"two that cannot be read": {
			[]string{"FLUSH_INTERVAL=soon", "KAFKA_TLS_ENABLED=perhaps", "CURENCY=x"},
			[]string{"FLUSH_INTERVAL", "KAFKA_TLS_ENABLED", "CURENCY"},
		},
		"log format":              {[]string{"LOG_FORMAT=xml"}, []string{"LOG_FORMAT"}},
		"log level":               {[]string{"LOG_LEVEL=loud"}, []string{"LOG_LEVEL"}},
		"misspelt by one":         {[]string{"KAFKA_BROKER=a:1"}, []string{"KAFKA_BROKER"}},
		"misspelt by two":         {[]string{"MERCADOPAGO_ACESS_TOKENS=" + password}, []string{"MERCADOPAGO_ACESS_TOKENS"}},
		"misspelt by three":       {[]string{"KAFKA_GROUPING=a"}, nil},
		"none of our business":    {[]string{"PATH=/bin", "KAFKA_SERVICE_HOST=10.0.0.1", "HOME=/"}, nil},
		"not there yet":           {[]string{"KAFKA_GROUP_PROTOCOL=consumer"}, []string{"KAFKA_GROUP_PROTOCOL"}},
		"rate limit below zero":   {[]string{"CAPTURE_RATE_LIMIT=-1"}, []string{"CAPTURE_RATE_LIMIT"}},
		"rate limit is no number": {[]string{"CAPTURE_RATE_LIMIT=NaN"}, []string{"CAPTURE_RATE_LIMIT"}},
		"rate limit":              {[]string{"CAPTURE_RATE_LIMIT=12.5"}, nil},
		"searches for ever":       {[]string{"CAPTURE_RECONCILE_FOR=2h"}, []string{"CAPTURE_RECONCILE_FOR"}},
		"runs below zero": {
			[]string{"CAPTURE_REFUSAL_RUN=-1", "INVALID_EVENT_RUN=-1"},
			[]string{"CAPTURE_REFUSAL_RUN", "INVALID_EVENT_RUN"},
		},
		"no runs":           {[]string{"CAPTURE_REFUSAL_RUN=0", "INVALID_EVENT_RUN=0"}, nil},
		"token in a file":   {[]string{"MERCADOPAGO_ACCESS_TOKEN=", "MERCADOPAGO_ACCESS_TOKEN_FILE=/token"}, nil},
		"a hold below zero": {[]string{"INVALID_EVENT_HOLD=-1s"}, []string{"INVALID_EVENT_HOLD"}},
		"a hold of days":    {[]string{"INVALID_EVENT_HOLD=25h"}, []string{"INVALID_EVENT_HOLD"}},
		"no hold":           {[]string{"INVALID_EVENT_HOLD=0"}, nil},
	})
}

func testProblems(t *testing.T, settings map[string]setting) {
	t.Helper()
	for name, test := range settings {
		t.Run(name, func(t *testing.T) {
			setEnv(t, test.set...)
			c, err := config.Read()
			wantNamed(t, err, test.want)
			for _, row := range c.Table() {
				if strings.Contains(row.Value, "planted") {
					t.Errorf("%s shows its content: %s", row.Name, row.Value)
				}
			}
		})
	}
}

// wantNamed checks that the error has a line for each variable, no other line,
// and no secret.
func wantNamed(t *testing.T, err error, names []string) {
	t.Helper()
	var lines []string
	if err != nil {
		lines = strings.Split(err.Error(), "\n")
		if strings.Contains(err.Error(), "planted") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	if len(lines) != len(names) {
		t.Errorf("got %d problems, want %v:\n%v", len(lines), names, err)
	}
	for _, name := range names {
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, name+": ")
		}
		if !found {
			t.Errorf("no problem begins with %s: \n%v", name, err)
		}
	}
}

// A value that cannot be read may be a secret that was set under a wrong name.
func TestUnreadableValuesAreNotQuoted(t *testing.T) {
	for _, row := range (config.Config{}).Table() {
		t.Run(row.Name, func(t *testing.T) {
			setEnv(t, row.Name+"="+password)
			if _, err := config.Read(); err != nil && strings.Contains(err.Error(), "cannot be read") && strings.Contains(err.Error(), password) {
				t.Errorf("quoted: %v", err)
			}
		})
	}
}

func TestMisspeltNamesTheRightOne(t *testing.T) {
	setEnv(t, "CAPTURE_DEADLIN=1m")
	_, err := config.Read()
	if err == nil || !strings.Contains(err.Error(), "similar to CAPTURE_DEADLINE:") {
		t.Errorf("got %v", err)
	}
}

// A command that talks to Kafka alone needs no credential of the API.
func TestReadKafka(t *testing.T) {
	setEnv(t, "MERCADOPAGO_ACCESS_TOKEN=", "CURRENCY=", "CAPTURE_MAX_TRIES=0")
	if _, err := config.ReadKafka(); err != nil {
		t.Errorf("got %v", err)
	}
	setEnv(t, "KAFKA_GROUP=", "KAFKA_GRUOP=x")
	_, err := config.ReadKafka()
	wantNamed(t, err, []string{"KAFKA_GROUP", "KAFKA_GRUOP"})
}

func TestReadAdmin(t *testing.T) {
	setEnv(t, "ADMIN_ADDR=:9000", "CURRENCY=")
	if c, err := config.ReadAdmin(); c.AdminAddr != ":9000" || err != nil {
		t.Errorf("got %q, %v", c.AdminAddr, err)
	}
	setEnv(t, "ADMIN_TLS_KEY_FILE=key.pem", "ADMIN_WITHOUT_TOKEN=/livez,/status", "ADMIN_ADDR=9000")
	_, err := config.ReadAdmin()
	wantNamed(t, err, []string{"ADMIN_ADDR", "ADMIN_TLS_CERT_FILE", "ADMIN_WITHOUT_TOKEN"})
	setEnv(t, "ADMIN_ADDR=off")
	if _, err := config.ReadAdmin(); err == nil || !strings.HasPrefix(err.Error(), "ADMIN_ADDR: ") {
		t.Errorf("off: got %v", err)
	}
}

func TestSecretsInTheTable(t *testing.T) {
	setEnv(t, "KAFKA_SASL_MECHANISM=PLAIN", "KAFKA_SASL_USER=some-user", "KAFKA_SASL_PASSWORD="+password)
	c, err := config.Read()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]string)
	for _, row := range c.Table() {
		values[row.Name] = row.Value
	}
	for name, want := range map[string]string{
		"MERCADOPAGO_ACCESS_TOKEN": "[redacted]", "KAFKA_SASL_PASSWORD": "[redacted]", "KAFKA_SASL_USER": "some-user",
		"KAFKA_BROKERS": "localhost:9092", "MERCADOPAGO_ACCESS_TOKEN_FILE": "",
	} {
		if values[name] != want {
			t.Errorf("%s shows as %q, want %q", name, values[name], want)
		}
	}
}
