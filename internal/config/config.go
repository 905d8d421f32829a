// Package config reads the environment. Nothing else does.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"reflect"
	"time"

	"github.com/kelseyhightower/envconfig"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// Config is the configuration as the environment gives it. The tags are the
// single source of the names, the defaults and the table in the README.
type Config struct {
	KafkaBrokers          []string      `envconfig:"KAFKA_BROKERS" default:"localhost:9092" desc:"brokers to begin with, as host:port, separated by commas"`
	KafkaGroup            string        `envconfig:"KAFKA_GROUP" default:"payment-capture" desc:"consumer group; with INSTANCE_ID it makes the transactional id"`
	KafkaStartAt          string        `envconfig:"KAFKA_START_AT" desc:"where a group without committed offsets begins: earliest, latest or an RFC 3339 time; required then, unused later"`
	KafkaAcceptOffsets    string        `envconfig:"KAFKA_ACCEPT_OFFSETS" desc:"committed offsets to accept although they skip records, as partition:offset, separated by commas; the message of a halted partition names the value"`
	KafkaStaticMembership bool          `envconfig:"KAFKA_STATIC_MEMBERSHIP" default:"false" desc:"a restart under the same INSTANCE_ID keeps its partitions"`
	KafkaSessionTimeout   time.Duration `envconfig:"KAFKA_SESSION_TIMEOUT" default:"45s" desc:"after this time without a heartbeat the group gives an instance's partitions to others"`
	KafkaTLS              bool          `envconfig:"KAFKA_TLS_ENABLED" default:"false" desc:"TLS to the brokers, version 1.2 or later"`
	KafkaTLSCA            string        `envconfig:"KAFKA_TLS_CA_FILE" desc:"PEM file of the authorities to trust instead of the system's; read again when it changes"`
	KafkaTLSCert          string        `envconfig:"KAFKA_TLS_CERT_FILE" desc:"PEM file of the client certificate; read again when it changes"`
	KafkaTLSKey           string        `envconfig:"KAFKA_TLS_KEY_FILE" desc:"PEM file of its key; read again when it changes"`
	KafkaSASLMechanism    string        `envconfig:"KAFKA_SASL_MECHANISM" desc:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; empty: none"`
	KafkaSASLUser         string        `envconfig:"KAFKA_SASL_USER" desc:"user name for PLAIN and SCRAM"`
	KafkaSASLPassword     secret.Text   `envconfig:"KAFKA_SASL_PASSWORD" desc:"password, or for OAUTHBEARER the token"`
	KafkaSASLPasswordFile string        `envconfig:"KAFKA_SASL_PASSWORD_FILE" desc:"file that holds it instead; read again when it changes"`
	KafkaMaxRequestBytes  int           `envconfig:"KAFKA_MAX_REQUEST_BYTES" default:"1000000" desc:"largest produce request; parked records that do not fit in one are parked as their position and SHA-256"`
	InstanceID            string        `envconfig:"INSTANCE_ID" desc:"name of this instance, stable over restarts and different for each; default: the host name"`

	TopicInput      string `envconfig:"TOPIC_ORDER_READY_TO_CAPTURE" default:"order.ready_to_capture" desc:"topic to read"`
	TopicCaptured   string `envconfig:"TOPIC_PAYMENT_CAPTURED" default:"payment.captured" desc:"topic of payment.captured"`
	TopicRejected   string `envconfig:"TOPIC_PAYMENT_REJECTED" default:"payment.rejected" desc:"topic of payment.rejected; may be that of payment.captured"`
	TopicParked     string `envconfig:"TOPIC_PARKED" default:"payment-capture.parked" desc:"topic of records that wait for a person"`
	TopicLedger     string `envconfig:"TOPIC_LEDGER" default:"payment-capture.ledger" desc:"topic of what was attempted and decided, by event id; compacted, and none of the others"`
	LedgerDir       string `envconfig:"LEDGER_DIR" desc:"directory of the local copy of the ledger, of this instance alone; made by the service, read anew from the topic where it is lost; default: one of KAFKA_GROUP and INSTANCE_ID in the system's temporary directory"`
	CloudEventsMode string `envconfig:"CLOUDEVENTS_MODE" default:"structured" desc:"how outcomes are written: structured or binary; both are read"`

	MercadoPagoURL             string         `envconfig:"MERCADOPAGO_URL" default:"https://api.mercadopago.com" desc:"address of the API"`
	MercadoPagoAccount         string         `envconfig:"MERCADOPAGO_ACCOUNT" desc:"name of this account in events; events that name another one are skipped"`
	MercadoPagoAccessToken     secret.Text    `envconfig:"MERCADOPAGO_ACCESS_TOKEN" desc:"access token; this or the file is required"`
	MercadoPagoAccessTokenFile string         `envconfig:"MERCADOPAGO_ACCESS_TOKEN_FILE" desc:"file that holds it instead; read again when it changes"`
	MercadoPagoTimeout         time.Duration  `envconfig:"MERCADOPAGO_TIMEOUT" default:"30s" desc:"how long one call may take"`
	Currency                   money.Currency `envconfig:"CURRENCY" desc:"required: the currency of the token's site; events in another one are parked"`

	MaxInFlight           int           `envconfig:"CAPTURE_MAX_IN_FLIGHT" default:"256" desc:"calls to the API at once; lowered for a while when it answers 429 or 503"`
	CaptureRateLimit      float64       `envconfig:"CAPTURE_RATE_LIMIT" default:"0" desc:"calls to the API a second; 0: no limit"`
	CaptureDeadline       time.Duration `envconfig:"CAPTURE_DEADLINE" default:"15m" desc:"how long one event is tried before it is parked"`
	CaptureMaxTries       int           `envconfig:"CAPTURE_MAX_TRIES" default:"100" desc:"how often one event is tried before it is parked"`
	CaptureMaxEventAge    time.Duration `envconfig:"CAPTURE_MAX_EVENT_AGE" default:"168h" desc:"events older than this that the ledger does not know are parked, not charged; 0: none is too old"`
	CaptureMaxEventLead   time.Duration `envconfig:"CAPTURE_MAX_EVENT_LEAD" default:"1h" desc:"events whose time is further ahead than the clock tolerance (5m), but at most this, wait for it; those further ahead are parked; 0: none waits"`
	EventTimeRequired     bool          `envconfig:"EVENT_TIME_REQUIRED" default:"false" desc:"park events without a time of their own as invalid; otherwise the record's timestamp stands in"`
	CaptureOncePer        string        `envconfig:"CAPTURE_ONCE_PER" default:"event" desc:"what is charged at most once: event, by its id; or reference, also by its external reference, under whatever event id"`
	ReplayedOutcomes      string        `envconfig:"REPLAYED_OUTCOMES" default:"emit" desc:"the outcome of an event that was decided before and comes again: emit it once more, marked replayed, or suppress it"`
	IdempotencyKeyHorizon time.Duration `envconfig:"IDEMPOTENCY_KEY_HORIZON" default:"24h" desc:"how long the API is trusted to remember an idempotency key; an event first tried longer ago is looked up, not called for again"`
	CaptureReconcileFor   time.Duration `envconfig:"CAPTURE_RECONCILE_FOR" default:"3m" desc:"how long the API is searched for a payment before an event is parked that may have made one"`
	CaptureRefusalRun     int           `envconfig:"CAPTURE_REFUSAL_RUN" default:"20" desc:"consecutive refusals, over different payers or orders and without a payment between, that halt the service; 0 disables"`
	InvalidEventRun       int           `envconfig:"INVALID_EVENT_RUN" default:"100" desc:"consecutive records of one partition that would be parked without a call, from which on such records are held before they are parked; 0 disables"`
	InvalidEventHold      time.Duration `envconfig:"INVALID_EVENT_HOLD" default:"15m" desc:"how long such a run is held, for an operator to look, before its records are parked; 0: none are held"`
	FlushInterval         time.Duration `envconfig:"FLUSH_INTERVAL" default:"25ms" desc:"the least time between two transactions under load"`
	ShutdownTimeout       time.Duration `envconfig:"SHUTDOWN_TIMEOUT" default:"45s" desc:"how long a stop may take; at least MERCADOPAGO_TIMEOUT + 5s"`

	AdminAddr string     `envconfig:"ADMIN_ADDR" default:"localhost:8080" desc:"address of /livez, /readyz, /status and /metrics; off: none"`
	LogLevel  slog.Level `envconfig:"LOG_LEVEL" default:"info" desc:"debug, info, warn or error"`
}

// Read reads and checks the environment. The error lists everything that is
// wrong, each with the variable's name and what to do. Where some values cannot
// be read it lists those alone: the others are checked against them.
func Read() (Config, error) {
	c, err := read()
	if err != nil {
		return c, err
	}
	return c, errors.Join(append(c.problems(), misspelt(os.Environ())...)...)
}

// ReadKafka reads the environment for a command that talks to Kafka alone:
// what concerns the payment API is not checked.
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

// ReadAdmin gives ADMIN_ADDR.
func ReadAdmin() (string, error) {
	c, err := read()
	if err == nil && c.AdminAddr == AdminOff {
		err = errors.New("ADMIN_ADDR: is off, so there is nothing to ask")
	}
	return c.AdminAddr, err
}

func read() (Config, error) {
	var c Config
	var all []error
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		// One at a time, for the library stops at the first error.
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

// collect gives a report that appends to a list.
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
	if c.AdminAddr != AdminOff {
		if _, _, err := net.SplitHostPort(c.AdminAddr); err != nil {
			wrong("ADMIN_ADDR", "%q is no host:port; for none, set it to %s", c.AdminAddr, AdminOff)
		}
	}
	return all
}

// AdminOff as ADMIN_ADDR means that no admin address is listened on.
const AdminOff = "off"

// The values of CAPTURE_ONCE_PER.
const (
	OncePerEvent     = "event"
	OncePerReference = "reference"
)

// The values of REPLAYED_OUTCOMES.
const (
	ReplayedEmit     = "emit"
	ReplayedSuppress = "suppress"
)

type report func(name, format string, args ...any)

func (c Config) checkKafka(wrong report) {
	if len(c.KafkaBrokers) == 0 {
		wrong("KAFKA_BROKERS", "is empty: set it to host:port")
	}
	for _, b := range c.KafkaBrokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			wrong("KAFKA_BROKERS", "%q is no host:port", address(b))
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
		wrong("KAFKA_SESSION_TIMEOUT", "is %s: at least 1s", c.KafkaSessionTimeout)
	}
	if n := c.KafkaMaxRequestBytes; n < kafka.LeastMaxRequestBytes || n > kafka.MostMaxRequestBytes {
		wrong("KAFKA_MAX_REQUEST_BYTES", "is %d: %d to %d", n, kafka.LeastMaxRequestBytes, kafka.MostMaxRequestBytes)
	}
	if !c.KafkaTLS && (c.KafkaTLSCA != "" || c.KafkaTLSCert != "" || c.KafkaTLSKey != "") {
		wrong("KAFKA_TLS_ENABLED", "is false, but files for TLS are named: set it to true, or unset them")
	}
	switch c.KafkaSASLMechanism {
	case "":
		if c.KafkaSASLUser != "" || !c.KafkaSASLPassword.IsZero() || c.KafkaSASLPasswordFile != "" {
			wrong("KAFKA_SASL_MECHANISM", "is empty, but a user or a password is set: name the mechanism")
		}
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		if c.KafkaSASLUser == "" {
			wrong("KAFKA_SASL_USER", "is empty: %s needs it", c.KafkaSASLMechanism)
		}
		fallthrough
	case "OAUTHBEARER":
		if c.KafkaSASLPassword.IsZero() == (c.KafkaSASLPasswordFile == "") {
			wrong("KAFKA_SASL_PASSWORD", "set either it or KAFKA_SASL_PASSWORD_FILE")
		}
	default:
		wrong("KAFKA_SASL_MECHANISM", "%q is none of %v", c.KafkaSASLMechanism, kafka.SASLMechanisms())
	}
	c.checkTopics(wrong)
	if m := event.Mode(c.CloudEventsMode); m != event.Structured && m != event.Binary {
		wrong("CLOUDEVENTS_MODE", "%q is neither %s nor %s", c.CloudEventsMode, event.Structured, event.Binary)
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
			wrong("TOPIC_LEDGER", "is %s, the topic of %s too: the ledger is compacted, so records of another kind "+
				"would vanish from it, and it would be read as damaged; give it a topic of its own", c.TopicLedger, t.name)
		}
	}
	if c.TopicParked == c.TopicInput {
		wrong("TOPIC_PARKED", "is the topic that is read: a parked record would be read, and parked, for ever")
	}
}

func (c Config) checkAPI(wrong report) {
	u, err := url.Parse(c.MercadoPagoURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		wrong("MERCADOPAGO_URL", "must be an address such as https://api.mercadopago.com, without a user, a query or a fragment")
	}
	if c.MercadoPagoAccessToken.IsZero() == (c.MercadoPagoAccessTokenFile == "") {
		wrong("MERCADOPAGO_ACCESS_TOKEN", "set either it or MERCADOPAGO_ACCESS_TOKEN_FILE")
	}
	if c.MercadoPagoTimeout < time.Second {
		wrong("MERCADOPAGO_TIMEOUT", "is %s: at least 1s, or a charge is given up before the API can answer", c.MercadoPagoTimeout)
	}
}

func (c Config) checkCapture(wrong report) {
	if c.MaxInFlight < 1 || c.MaxInFlight > 10_000 {
		wrong("CAPTURE_MAX_IN_FLIGHT", "is %d: 1 to 10000", c.MaxInFlight)
	}
	if !(c.CaptureRateLimit >= 0 && c.CaptureRateLimit <= 1e6) { // nor is NaN a limit
		wrong("CAPTURE_RATE_LIMIT", "is %g: 0 for no limit, or up to 1000000 calls a second", c.CaptureRateLimit)
	}
	if c.CaptureReconcileFor < 0 || c.CaptureReconcileFor > time.Hour {
		wrong("CAPTURE_RECONCILE_FOR", "is %s: 0s to 1h", c.CaptureReconcileFor)
	}
	if c.CaptureRefusalRun < 0 {
		wrong("CAPTURE_REFUSAL_RUN", "is %d: 0 or more", c.CaptureRefusalRun)
	}
	if c.InvalidEventRun < 0 {
		wrong("INVALID_EVENT_RUN", "is %d: 0 or more", c.InvalidEventRun)
	}
	if c.InvalidEventHold < 0 || c.InvalidEventHold > 24*time.Hour {
		wrong("INVALID_EVENT_HOLD", "is %s: 0s to 24h", c.InvalidEventHold)
	}
	if c.CaptureDeadline < time.Second {
		wrong("CAPTURE_DEADLINE", "is %s: at least 1s", c.CaptureDeadline)
	}
	if c.CaptureMaxTries < 1 {
		wrong("CAPTURE_MAX_TRIES", "is %d: at least 1", c.CaptureMaxTries)
	}
	if c.ReplayedOutcomes != ReplayedEmit && c.ReplayedOutcomes != ReplayedSuppress {
		wrong("REPLAYED_OUTCOMES", "%q is neither %s nor %s", c.ReplayedOutcomes, ReplayedEmit, ReplayedSuppress)
	}
	if c.FlushInterval < 0 || c.FlushInterval > 10*time.Second {
		wrong("FLUSH_INTERVAL", "is %s: 0s to 10s", c.FlushInterval)
	}
	if least := c.MercadoPagoTimeout + 5*time.Second; c.ShutdownTimeout < least {
		wrong("SHUTDOWN_TIMEOUT", "is %s: at least MERCADOPAGO_TIMEOUT + 5s (%s), or a stop breaks off charges", c.ShutdownTimeout, least)
	}
}

// checkRules checks the variables of the rule book.
func (c Config) checkRules(wrong report) {
	if _, err := money.ParseCurrency(string(c.Currency)); err != nil {
		wrong("CURRENCY", "%q %w: set it to that of the access token's site", c.Currency, err)
	}
	if c.IdempotencyKeyHorizon <= 0 {
		wrong("IDEMPOTENCY_KEY_HORIZON", "is %s: it must be over zero", c.IdempotencyKeyHorizon)
	}
	if c.CaptureMaxEventAge < 0 {
		wrong("CAPTURE_MAX_EVENT_AGE", "is %s: it must be over zero, or 0 where no event is too old", c.CaptureMaxEventAge)
	}
	if lead := c.CaptureMaxEventLead; lead != 0 && (lead <= event.ClockTolerance || lead > 24*time.Hour) {
		wrong("CAPTURE_MAX_EVENT_LEAD", "is %s: over %s and at most 24h, or 0 if no event shall wait for its time", lead, event.ClockTolerance)
	}
	if c.CaptureOncePer != OncePerEvent && c.CaptureOncePer != OncePerReference {
		wrong("CAPTURE_ONCE_PER", "%q is neither %s nor %s", c.CaptureOncePer, OncePerEvent, OncePerReference)
	}
}
