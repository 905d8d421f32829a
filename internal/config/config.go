// Package config reads the configuration from the environment; no other package
// reads it.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kelseyhightower/envconfig"

	"payment-capture/internal/admin"
	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

// Config is the configuration of the service. Its tags are the single source of the
// variables' names, defaults and descriptions, and of the table in
// docs/configuration.md.
type Config struct {
	KafkaBrokers          []string      `envconfig:"KAFKA_BROKERS" default:"localhost:9092" desc:"bootstrap brokers as host:port, separated by commas"`
	KafkaGroup            string        `envconfig:"KAFKA_GROUP" default:"payment-capture" desc:"consumer group; also the first part of the transactional id"`
	KafkaStartAt          string        `envconfig:"KAFKA_START_AT" desc:"start of a group without committed offsets: earliest, latest or an RFC 3339 time; required for such a start, ignored otherwise"`
	KafkaAcceptOffsets    string        `envconfig:"KAFKA_ACCEPT_OFFSETS" desc:"foreign committed offsets to accept although they skip undecided records, as partition:offset, separated by commas; the log names the value"`
	KafkaStaticMembership bool          `envconfig:"KAFKA_STATIC_MEMBERSHIP" default:"false" desc:"static group membership: a restart under the same INSTANCE_ID keeps its partitions"`
	KafkaSessionTimeout   time.Duration `envconfig:"KAFKA_SESSION_TIMEOUT" default:"45s" desc:"time without a heartbeat after which the group reassigns the partitions of an instance"`
	KafkaTLS              bool          `envconfig:"KAFKA_TLS_ENABLED" default:"false" desc:"connect to the brokers by TLS, version 1.2 or later"`
	KafkaTLSCA            string        `envconfig:"KAFKA_TLS_CA_FILE" desc:"PEM file of the trusted authorities, instead of those of the system; reloaded when it changes"`
	KafkaTLSCert          string        `envconfig:"KAFKA_TLS_CERT_FILE" desc:"PEM file of the client certificate; reloaded when it changes"`
	KafkaTLSKey           string        `envconfig:"KAFKA_TLS_KEY_FILE" desc:"PEM file of the client certificate's key; reloaded when it changes"`
	KafkaSASLMechanism    string        `envconfig:"KAFKA_SASL_MECHANISM" desc:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM; empty disables SASL"`
	KafkaSASLUser         string        `envconfig:"KAFKA_SASL_USER" desc:"user name for PLAIN and SCRAM; client id for KAFKA_OAUTH_TOKEN_URL"`
	KafkaSASLPassword     secret.Text   `envconfig:"KAFKA_SASL_PASSWORD" desc:"password; client secret for KAFKA_OAUTH_TOKEN_URL; for OAUTHBEARER without it, the token"`
	KafkaSASLPasswordFile string        `envconfig:"KAFKA_SASL_PASSWORD_FILE" desc:"file with the password, secret or token, instead of KAFKA_SASL_PASSWORD; reloaded when it changes"`
	KafkaOAuthTokenURL    string        `envconfig:"KAFKA_OAUTH_TOKEN_URL" desc:"https URL of the token endpoint, for OAUTHBEARER with client credentials"`
	KafkaOAuthScope       string        `envconfig:"KAFKA_OAUTH_SCOPE" desc:"scopes to ask the token endpoint for, separated by spaces"`
	KafkaOAuthCA          string        `envconfig:"KAFKA_OAUTH_CA_FILE" desc:"PEM file of the authorities trusted for the token endpoint, instead of those of the system; reloaded when it changes"`
	KafkaMaxRequestBytes  int           `envconfig:"KAFKA_MAX_REQUEST_BYTES" default:"1000000" desc:"maximum size of a produce request; larger parked records are replaced by their position, size and SHA-256"`
	InstanceID            string        `envconfig:"INSTANCE_ID" desc:"name of this instance: unique in the group and stable over restarts; default: the host name"`

	TopicInput      string        `envconfig:"TOPIC_ORDER_READY_TO_CAPTURE" default:"order.ready_to_capture" desc:"input topic, with order.ready_to_capture events"`
	TopicCaptured   string        `envconfig:"TOPIC_PAYMENT_CAPTURED" default:"payment.captured" desc:"topic for payment.captured events"`
	TopicRejected   string        `envconfig:"TOPIC_PAYMENT_REJECTED" default:"payment.rejected" desc:"topic for payment.rejected events; may be the same as TOPIC_PAYMENT_CAPTURED"`
	TopicParked     string        `envconfig:"TOPIC_PARKED" default:"payment-capture.parked" desc:"dead-letter topic, for records that wait for an operator"`
	TopicLedger     string        `envconfig:"TOPIC_LEDGER" default:"payment-capture.ledger" desc:"ledger topic of attempts and decisions; compacted, and different from the other topics"`
	LedgerDir       string        `envconfig:"LEDGER_DIR" desc:"directory for the local store of the ledger; default: payment-capture in the system's temporary directory"`
	LedgerRetention time.Duration `envconfig:"LEDGER_RETENTION" default:"0" desc:"time after which the ledger forgets attempts and decisions; 0: never"`
	CloudEventsMode string        `envconfig:"CLOUDEVENTS_MODE" default:"structured" desc:"content mode of published outcomes: structured or binary; the service reads both"`

	MercadoPagoURL             string         `envconfig:"MERCADOPAGO_URL" default:"https://api.mercadopago.com" desc:"base URL of the API"`
	MercadoPagoAccount         string         `envconfig:"MERCADOPAGO_ACCOUNT" desc:"account of this deployment; events for another data.account are skipped"`
	MercadoPagoAccessToken     secret.Text    `envconfig:"MERCADOPAGO_ACCESS_TOKEN" desc:"access token; required unless MERCADOPAGO_ACCESS_TOKEN_FILE is set"`
	MercadoPagoAccessTokenFile string         `envconfig:"MERCADOPAGO_ACCESS_TOKEN_FILE" desc:"file with the access token; reloaded when it changes"`
	MercadoPagoCA              string         `envconfig:"MERCADOPAGO_CA_FILE" desc:"PEM file of the trusted authorities of the API and of an https proxy, instead of those of the system; reloaded when it changes"`
	MercadoPagoTimeout         time.Duration  `envconfig:"MERCADOPAGO_TIMEOUT" default:"30s" desc:"timeout of one call"`
	Currency                   money.Currency `envconfig:"CURRENCY" desc:"required: currency of the access token's site; events in another currency are parked"`

	MaxInFlight           int           `envconfig:"CAPTURE_MAX_IN_FLIGHT" default:"256" desc:"maximum concurrent calls; reduced temporarily after 429 and 503 answers"`
	CaptureRateLimit      float64       `envconfig:"CAPTURE_RATE_LIMIT" default:"0" desc:"maximum calls per second; 0 disables"`
	CaptureDeadline       time.Duration `envconfig:"CAPTURE_DEADLINE" default:"15m" desc:"time budget of one event; then the payment is looked up, and the record parked if that does not decide"`
	CaptureMaxTries       int           `envconfig:"CAPTURE_MAX_TRIES" default:"100" desc:"maximum calls for one event, likewise"`
	CaptureMaxEventAge    time.Duration `envconfig:"CAPTURE_MAX_EVENT_AGE" default:"168h" desc:"maximum age of an event that the ledger does not know; older ones are parked, not charged; 0 disables"`
	CaptureMaxEventLead   time.Duration `envconfig:"CAPTURE_MAX_EVENT_LEAD" default:"1h" desc:"maximum distance of an event time in the future; events more than 5m ahead wait for their time, events beyond this are parked; 0: none waits"`
	EventTimeRequired     bool          `envconfig:"EVENT_TIME_REQUIRED" default:"false" desc:"park events without a time attribute as invalid, instead of using the record timestamp"`
	CaptureOncePer        string        `envconfig:"CAPTURE_ONCE_PER" default:"payment" desc:"charge at most once per event id (event); also per external reference, amount, currency and payer within CAPTURE_DUPLICATE_WINDOW (payment); or also per external reference (reference)"`
	DuplicateWindow       time.Duration `envconfig:"CAPTURE_DUPLICATE_WINDOW" default:"168h" desc:"with CAPTURE_ONCE_PER=payment: time after a capture in which another event for the same payment is parked"`
	ReplayedOutcomes      string        `envconfig:"REPLAYED_OUTCOMES" default:"emit" desc:"outcomes of events that were decided before: emit publishes them again, marked replayed; suppress does not"`
	IdempotencyKeyHorizon time.Duration `envconfig:"IDEMPOTENCY_KEY_HORIZON" default:"24h" desc:"assumed key retention of the API; an event first attempted longer ago is looked up, not charged again"`
	CaptureReconcileFor   time.Duration `envconfig:"CAPTURE_RECONCILE_FOR" default:"3m" desc:"time to look up a payment of unknown result before the record is parked"`
	CaptureRefusalRun     int           `envconfig:"CAPTURE_REFUSAL_RUN" default:"20" desc:"consecutive refusals, over different payers or orders, that halt the service; 0 disables"`
	InvalidEventRun       int           `envconfig:"INVALID_EVENT_RUN" default:"100" desc:"consecutive invalid events in a partition after which the next ones are held before they are parked; 0 disables"`
	InvalidEventHold      time.Duration `envconfig:"INVALID_EVENT_HOLD" default:"15m" desc:"maximum time for which invalid events are held; 0 disables"`
	FlushInterval         time.Duration `envconfig:"FLUSH_INTERVAL" default:"25ms" desc:"minimum time between two transactions under load"`
	ShutdownTimeout       time.Duration `envconfig:"SHUTDOWN_TIMEOUT" default:"45s" desc:"maximum duration of a graceful stop; at least MERCADOPAGO_TIMEOUT + 5s"`

	AdminTLSCert      string   `envconfig:"ADMIN_TLS_CERT_FILE" desc:"PEM file of the certificate with which the admin address serves HTTPS; reloaded when it changes"`
	AdminTLSKey       string   `envconfig:"ADMIN_TLS_KEY_FILE" desc:"PEM file of that certificate's key; reloaded when it changes"`
	AdminTokensFile   string   `envconfig:"ADMIN_TOKENS_FILE" desc:"file with bearer tokens, one per line; the admin address requires one of them; reloaded when it changes"`
	AdminWithoutToken []string `envconfig:"ADMIN_WITHOUT_TOKEN" default:"/livez,/readyz" desc:"with ADMIN_TOKENS_FILE: which of /livez, /readyz and /metrics need no token; /readyz then shows no detail"`

	AdminAddr string     `envconfig:"ADMIN_ADDR" default:"localhost:8080" desc:"address of /livez, /readyz, /status and /metrics; off disables"`
	LogLevel  slog.Level `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error; payment-capture log-level changes it while the service runs"`
	LogFormat string     `envconfig:"LOG_FORMAT" default:"auto" desc:"json, text, or auto: text on a terminal, otherwise json"`

	TracesExporter       string `envconfig:"OTEL_TRACES_EXPORTER" desc:"otlp or none; empty: otlp if an endpoint is set, otherwise none"`
	TracesEndpoint       string `envconfig:"OTEL_EXPORTER_OTLP_ENDPOINT" desc:"URL of the collector of traces, such as http://collector:4318"`
	TracesEndpointOwn    string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" desc:"the same, with its path, for traces alone"`
	TracesProtocol       string `envconfig:"OTEL_EXPORTER_OTLP_PROTOCOL" desc:"http/protobuf or grpc; empty: http/protobuf"`
	TracesProtocolOwn    string `envconfig:"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" desc:"the same, for traces alone"`
	OpenTelemetryDisable bool   `envconfig:"OTEL_SDK_DISABLED" default:"false" desc:"true: no traces, whatever else is set"`
}

// The values of LOG_FORMAT.
const (
	LogAuto = "auto"
	LogJSON = "json"
	LogText = "text"
)

// Read reads and checks the environment. The error lists every wrong variable, with
// its name and the remedy. If some values cannot be parsed, the error lists only
// those, because the other checks depend on them.
func Read() (Config, error) {
	c, err := read()
	if err != nil {
		return c, err
	}
	return c, errors.Join(append(c.problems(), misspelt(os.Environ())...)...)
}

// ReadKafka reads the environment for a command that uses only Kafka: it does not
// check the variables of the payment API.
func ReadKafka() (Config, error) { return readWith(Config.checkKafka) }

// ReadRules returns the configuration of a command that reports what the service
// would do with an event: it checks the variables of the cluster and of the rule
// book.
func ReadRules() (Config, error) { return readWith(Config.checkKafka, Config.checkRules) }

func readWith(checks ...func(Config, report)) (Config, error) {
	c, err := read()
	if err != nil {
		return c, err
	}
	all := misspelt(os.Environ())
	for _, check := range checks {
		check(c, collect(&all))
	}
	return c, errors.Join(all...)
}

// ReadAdmin reads the environment for a command that calls the admin address.
func ReadAdmin() (Config, error) {
	c, err := readWith(Config.checkAdmin)
	if err == nil && c.AdminAddr == AdminOff {
		err = errors.New("ADMIN_ADDR: is off, so the service has no admin address")
	}
	return c, err
}

func read() (Config, error) {
	var c Config
	var all []error
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		// One field at a time, because the library stops at the first error.
		one := reflect.New(reflect.StructOf([]reflect.StructField{v.Type().Field(i)}))
		err := envconfig.Process("", one.Interface())
		v.Field(i).Set(one.Elem().Field(0))
		if parse, ok := errors.AsType[*envconfig.ParseError](err); ok {
			// The library's message quotes the value, which may be a secret.
			err = fmt.Errorf("%s: cannot be read as a %s", parse.KeyName, parse.TypeName)
		}
		all = append(all, err)
	}
	if err := errors.Join(all...); err != nil {
		return c, errors.Join(append(all, misspelt(os.Environ())...)...)
	}
	if c.InstanceID == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("INSTANCE_ID: not set, and the host name is not known: %w", err)
		}
		c.InstanceID = host
	}
	return c, nil
}

// collect returns a report that appends to a list.
func collect(all *[]error) report {
	return func(name, format string, args ...any) {
		*all = append(*all, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...)))
	}
}

func (c Config) problems() []error {
	var all []error
	wrong := collect(&all)
	c.checkKafka(wrong)
	c.checkAPI(wrong)
	c.checkCapture(wrong)
	c.checkRules(wrong)
	c.checkAdmin(wrong)
	c.checkTraces(wrong)
	return all
}

func (c Config) checkAdmin(wrong report) {
	if _, _, err := net.SplitHostPort(c.AdminAddr); err != nil && c.AdminAddr != AdminOff {
		wrong("ADMIN_ADDR", "%q is not host:port; set it to %s to disable it", c.AdminAddr, AdminOff)
	}
	if (c.AdminTLSCert == "") != (c.AdminTLSKey == "") {
		wrong("ADMIN_TLS_CERT_FILE", "set both ADMIN_TLS_CERT_FILE and ADMIN_TLS_KEY_FILE, or neither")
	}
	for _, path := range c.AdminWithoutToken {
		if !slices.Contains(admin.Probes(), path) {
			wrong("ADMIN_WITHOUT_TOKEN", "%q is not one of %s", path, strings.Join(admin.Probes(), ", "))
		}
	}
}

// AdminOff as ADMIN_ADDR disables the admin address.
const AdminOff = "off"

// The values of CAPTURE_ONCE_PER.
const (
	OncePerEvent     = string(rules.GuardEvent)
	OncePerPayment   = string(rules.GuardPayment)
	OncePerReference = string(rules.GuardReference)
)

// The values of REPLAYED_OUTCOMES.
const (
	ReplayedEmit     = "emit"
	ReplayedSuppress = "suppress"
)

// report adds a problem of a variable.
type report func(name, format string, args ...any)

func (c Config) checkKafka(wrong report) {
	if len(c.KafkaBrokers) == 0 {
		wrong("KAFKA_BROKERS", "is empty: set it to host:port")
	}
	for _, b := range c.KafkaBrokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			wrong("KAFKA_BROKERS", "%q is not host:port", address(b))
		}
	}
	if c.KafkaGroup == "" {
		wrong("KAFKA_GROUP", "is empty")
	}
	if _, err := kafka.ParseStartAt(c.KafkaStartAt); err != nil {
		wrong("KAFKA_START_AT", "%w", err)
	}
	if _, err := kafka.ParseAcceptedOffsets(c.KafkaAcceptOffsets); err != nil {
		wrong("KAFKA_ACCEPT_OFFSETS", "%w", err)
	}
	if c.KafkaSessionTimeout < time.Second {
		wrong("KAFKA_SESSION_TIMEOUT", "is %s: must be at least 1s", c.KafkaSessionTimeout)
	}
	if n := c.KafkaMaxRequestBytes; n < kafka.LeastMaxRequestBytes || n > kafka.MostMaxRequestBytes {
		wrong("KAFKA_MAX_REQUEST_BYTES", "is %d: must be %d to %d", n, kafka.LeastMaxRequestBytes, kafka.MostMaxRequestBytes)
	}
	if !c.KafkaTLS && (c.KafkaTLSCA != "" || c.KafkaTLSCert != "" || c.KafkaTLSKey != "") {
		wrong("KAFKA_TLS_ENABLED", "is false, but KAFKA_TLS_*_FILE is set: set it to true, or unset the files")
	}
	c.checkSASL(wrong)
	c.checkTopics(wrong)
	c.checkRetention(wrong)
	if f := c.LogFormat; f != LogAuto && f != LogJSON && f != LogText {
		wrong("LOG_FORMAT", "%q is not one of %s, %s and %s", f, LogJSON, LogText, LogAuto)
	}
	if m := event.Mode(c.CloudEventsMode); m != event.Structured && m != event.Binary {
		wrong("CLOUDEVENTS_MODE", "%q is neither %s nor %s", c.CloudEventsMode, event.Structured, event.Binary)
	}
}

func (c Config) checkSASL(wrong report) {
	m := c.KafkaSASLMechanism
	hasCredential := c.KafkaSASLUser != "" || !c.KafkaSASLPassword.IsZero() || c.KafkaSASLPasswordFile != ""
	switch {
	case m == "" && hasCredential:
		wrong("KAFKA_SASL_MECHANISM", "is empty, but a user or a password is set: set the mechanism")
	case m == "":
	case !slices.Contains(kafka.SASLMechanisms(), m):
		wrong("KAFKA_SASL_MECHANISM", "%q is not one of %v", m, kafka.SASLMechanisms())
	case m == kafka.AWSMSKIAM:
		if hasCredential {
			wrong("KAFKA_SASL_MECHANISM", "%s uses the credentials of AWS: unset KAFKA_SASL_USER and KAFKA_SASL_PASSWORD*", m)
		}
		if !c.KafkaTLS {
			wrong("KAFKA_TLS_ENABLED", "is false: %s needs TLS", m)
		}
	default:
		if c.KafkaSASLUser == "" && (m != kafka.OAuthBearer || c.KafkaOAuthTokenURL != "") {
			wrong("KAFKA_SASL_USER", "is empty: %s needs it", m)
		}
		if c.KafkaSASLPassword.IsZero() == (c.KafkaSASLPasswordFile == "") {
			wrong("KAFKA_SASL_PASSWORD", "set exactly one of KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE")
		}
	}
	switch {
	case c.KafkaOAuthTokenURL == "":
		if c.KafkaOAuthScope != "" || c.KafkaOAuthCA != "" {
			wrong("KAFKA_OAUTH_TOKEN_URL", "is empty, but KAFKA_OAUTH_SCOPE or KAFKA_OAUTH_CA_FILE is set: set it, or unset them")
		}
	case m != kafka.OAuthBearer:
		wrong("KAFKA_OAUTH_TOKEN_URL", "needs KAFKA_SASL_MECHANISM=%s", kafka.OAuthBearer)
	default:
		if err := kafka.CheckTokenURL(c.KafkaOAuthTokenURL); err != nil {
			wrong("KAFKA_OAUTH_TOKEN_URL", "%w", err)
		}
	}
}

func (c Config) checkTopics(wrong report) {
	for _, t := range []struct{ name, topic string }{
		{"TOPIC_ORDER_READY_TO_CAPTURE", c.TopicInput},
		{"TOPIC_PAYMENT_CAPTURED", c.TopicCaptured},
		{"TOPIC_PAYMENT_REJECTED", c.TopicRejected},
		{"TOPIC_PARKED", c.TopicParked},
		{"TOPIC_LEDGER", c.TopicLedger},
	} {
		if t.topic == "" {
			wrong(t.name, "is empty")
		} else if t.topic == c.TopicLedger && t.name != "TOPIC_LEDGER" {
			wrong("TOPIC_LEDGER", "is %s, which is also %s: the ledger is compacted, so it would lose records of another kind "+
				"and be unreadable; use a separate topic", c.TopicLedger, t.name)
		}
	}
	if c.TopicParked == c.TopicInput {
		wrong("TOPIC_PARKED", "is the input topic: the service would read and park every parked record again; use a separate topic")
	}
}

// checkRetention refuses a retention after which an event could be charged again: what
// the ledger forgets must be too old to be charged.
func (c Config) checkRetention(wrong report) {
	const name = "LEDGER_RETENTION"
	if c.LedgerRetention == 0 {
		return
	}
	if c.CaptureMaxEventAge <= 0 {
		wrong("CAPTURE_MAX_EVENT_AGE", "is %s, so an event that the ledger forgot would be charged again; set a limit, or %s to 0",
			c.CaptureMaxEventAge, name)
	}
	if !c.EventTimeRequired {
		wrong("EVENT_TIME_REQUIRED", "is false, so an event without a time that is published again would look new to a ledger that forgot it; "+
			"set it to true, or %s to 0", name)
	}
	if c.CaptureOncePer == OncePerReference {
		wrong("CAPTURE_ONCE_PER", "is %s, so the ledger must remember captured references for ever; set it to %s or %s, or %s to 0",
			OncePerReference, OncePerPayment, OncePerEvent, name)
	}
	// An event is charged at most the tolerance before its own time.
	least := c.CaptureMaxEventAge + c.IdempotencyKeyHorizon + event.ClockTolerance
	of := fmt.Sprintf("CAPTURE_MAX_EVENT_AGE + IDEMPOTENCY_KEY_HORIZON + %s", event.ClockTolerance)
	if c.CaptureOncePer == OncePerPayment {
		least, of = least+c.DuplicateWindow, of+" + CAPTURE_DUPLICATE_WINDOW"
	}
	if c.LedgerRetention <= least {
		wrong(name, "is %s: must be over %s (%s), or 0 to remember for ever", c.LedgerRetention, least, of)
	}
}

func (c Config) checkAPI(wrong report) {
	u, err := url.Parse(c.MercadoPagoURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		wrong("MERCADOPAGO_URL", "must be a URL such as https://api.mercadopago.com, without user, query or fragment")
	}
	if c.MercadoPagoAccessToken.IsZero() == (c.MercadoPagoAccessTokenFile == "") {
		wrong("MERCADOPAGO_ACCESS_TOKEN", "set exactly one of MERCADOPAGO_ACCESS_TOKEN and MERCADOPAGO_ACCESS_TOKEN_FILE")
	}
	if c.MercadoPagoTimeout < time.Second {
		wrong("MERCADOPAGO_TIMEOUT", "is %s: must be at least 1s, so that the API can answer", c.MercadoPagoTimeout)
	}
}

func (c Config) checkCapture(wrong report) {
	if c.MaxInFlight < 1 || c.MaxInFlight > 10_000 {
		wrong("CAPTURE_MAX_IN_FLIGHT", "is %d: must be 1 to 10000", c.MaxInFlight)
	}
	if !(c.CaptureRateLimit >= 0 && c.CaptureRateLimit <= 1e6) { // excludes NaN
		wrong("CAPTURE_RATE_LIMIT", "is %g: must be 0 (no limit) to 1000000 calls per second", c.CaptureRateLimit)
	}
	if c.CaptureReconcileFor < 0 || c.CaptureReconcileFor > time.Hour {
		wrong("CAPTURE_RECONCILE_FOR", "is %s: must be 0s to 1h", c.CaptureReconcileFor)
	}
	if c.CaptureRefusalRun < 0 {
		wrong("CAPTURE_REFUSAL_RUN", "is %d: must be 0 or more", c.CaptureRefusalRun)
	}
	if c.InvalidEventRun < 0 {
		wrong("INVALID_EVENT_RUN", "is %d: must be 0 or more", c.InvalidEventRun)
	}
	if c.InvalidEventHold < 0 || c.InvalidEventHold > 24*time.Hour {
		wrong("INVALID_EVENT_HOLD", "is %s: must be 0s to 24h", c.InvalidEventHold)
	}
	if c.CaptureDeadline < time.Second {
		wrong("CAPTURE_DEADLINE", "is %s: must be at least 1s", c.CaptureDeadline)
	}
	if c.CaptureMaxTries < 1 {
		wrong("CAPTURE_MAX_TRIES", "is %d: must be at least 1", c.CaptureMaxTries)
	}
	if c.ReplayedOutcomes != ReplayedEmit && c.ReplayedOutcomes != ReplayedSuppress {
		wrong("REPLAYED_OUTCOMES", "%q is neither %s nor %s", c.ReplayedOutcomes, ReplayedEmit, ReplayedSuppress)
	}
	if c.FlushInterval < 0 || c.FlushInterval > 10*time.Second {
		wrong("FLUSH_INTERVAL", "is %s: must be 0s to 10s", c.FlushInterval)
	}
	if least := c.MercadoPagoTimeout + 5*time.Second; c.ShutdownTimeout < least {
		wrong("SHUTDOWN_TIMEOUT", "is %s: must be at least MERCADOPAGO_TIMEOUT + 5s (%s), or a stop cancels calls", c.ShutdownTimeout, least)
	}
}

// checkRules checks the variables of the rule book.
func (c Config) checkRules(wrong report) {
	if _, err := money.ParseCurrency(string(c.Currency)); err != nil {
		wrong("CURRENCY", "%q %w: set it to the currency of the access token's site", c.Currency, err)
	}
	if c.IdempotencyKeyHorizon <= 0 {
		wrong("IDEMPOTENCY_KEY_HORIZON", "is %s: must be over zero", c.IdempotencyKeyHorizon)
	}
	if c.CaptureMaxEventAge < 0 {
		wrong("CAPTURE_MAX_EVENT_AGE", "is %s: must be over zero, or 0 for no limit", c.CaptureMaxEventAge)
	}
	if lead := c.CaptureMaxEventLead; lead != 0 && (lead <= event.ClockTolerance || lead > 24*time.Hour) {
		wrong("CAPTURE_MAX_EVENT_LEAD", "is %s: must be over %s and at most 24h, or 0 if no event may wait for its time", lead,
			event.ClockTolerance)
	}
	if once := []string{OncePerEvent, OncePerPayment, OncePerReference}; !slices.Contains(once, c.CaptureOncePer) {
		wrong("CAPTURE_ONCE_PER", "%q is not one of %s", c.CaptureOncePer, strings.Join(once, ", "))
	}
	if c.DuplicateWindow <= 0 {
		wrong("CAPTURE_DUPLICATE_WINDOW", "is %s: must be over zero; CAPTURE_ONCE_PER=%s disables the check", c.DuplicateWindow, OncePerEvent)
	}
}
