package kafka_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"payment-capture/internal/kafka"
)

// TestMSKHandshake compares the client's message with one that the signer of AWS's library
// signs, and answers with a response of the documented form. The credentials come from the
// environment, the first of AWS's chain.
func TestMSKHandshake(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-key")
	t.Setenv("AWS_SESSION_TOKEN", "session/token+=")
	m, err := kafka.NewSASL(kafka.SASLConfig{Mechanism: kafka.AWSMSKIAM})
	if err != nil || m.Name() != "AWS_MSK_IAM" {
		t.Fatalf("got %v, %v", m, err)
	}
	const host = "b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com"
	synctest.Test(t, func(t *testing.T) { // so that the time stands still
		session, message, err := m.Authenticate(t.Context(), host+":9098")
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		if err := json.Unmarshal(message, &got); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(message), "planted-secret-key") {
			t.Error("the secret key is sent")
		}
		for name, want := range signed(t, host) {
			if got[name] != want {
				t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
		if got["version"] != "2020_10_22" || got["host"] != host || got["user-agent"] != "payment-capture" {
			t.Errorf("got %v", got)
		}
		if done, _, err := session.Challenge([]byte(`{"version":"2020_10_22","request-id":"6e4a5a84-0a3c-4c6c-9e1e-0d2c9a1f7b11"}`)); !done || err != nil {
			t.Errorf("the response is not accepted: %v", err)
		}
		if done, _, err := session.Challenge(nil); done || err == nil {
			t.Error("an empty response is accepted")
		}
	})
}

// signed returns the parameters of a request that AWS's signer signed.
func signed(t *testing.T, host string) map[string]string {
	t.Helper()
	query := url.Values{"Action": {"kafka-cluster:Connect"}, "X-Amz-Expires": {"900"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), awssdk.Credentials{
		AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "planted-secret-key", SessionToken: "session/token+=",
	}, req, emptyBody, "kafka-cluster", "eu-west-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for name, values := range u.Query() {
		all[strings.ToLower(name)] = values[0]
	}
	return all
}

// TestMSKWithoutCredentials: the error says what to do.
func TestMSKWithoutCredentials(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": missing, "AWS_SHARED_CREDENTIALS_FILE": missing,
	} {
		t.Setenv(name, value)
	}
	m, err := kafka.NewSASL(kafka.SASLConfig{Mechanism: kafka.AWSMSKIAM})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Authenticate(t.Context(), "b-1.kafka.eu-west-1.amazonaws.com:9098"); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("got %v", err)
	}
}
