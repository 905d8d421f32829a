package kafka

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"payment-capture/internal/secret"
)

// The SASL mechanisms.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
	AWSMSKIAM   = "AWS_MSK_IAM"
)

// SASLMechanisms returns the mechanisms that NewSASL supports.
func SASLMechanisms() []string {
	return []string{Plain, ScramSHA256, ScramSHA512, OAuthBearer, AWSMSKIAM}
}

// SASLConfig configures a SASL mechanism.
type SASLConfig struct {
	Mechanism string
	User      string // or the client id of OAuth
	// Credential returns the password, the client secret of OAuth, or the token of
	// OAUTHBEARER without OAuth. Every connection calls it, so a renewed credential is
	// used without a restart. An error beside a credential means that it is the last
	// one that Credential could read.
	Credential func() (secret.Text, error)
	// OAuth gets tokens from an authorization server; nil: Credential returns them.
	OAuth *OAuth
}

// NewSASL returns a SASL mechanism. Every connection gets its credential anew. The
// credentials of AWS_MSK_IAM come from the default chain of AWS's library.
func NewSASL(c SASLConfig) (sasl.Mechanism, error) {
	credential := func() (secret.Text, error) {
		text, err := c.Credential()
		if !text.IsZero() {
			// It may still be valid, and the broker refuses it if it is not.
			err = nil
		}
		return text, err
	}
	scramAuth := func(context.Context) (scram.Auth, error) {
		pass, err := credential()
		return scram.Auth{User: c.User, Pass: pass.Reveal()}, err
	}
	switch c.Mechanism {
	case Plain:
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := credential()
			return plain.Auth{User: c.User, Pass: pass.Reveal()}, err
		}), nil
	case ScramSHA256:
		return scram.Sha256(scramAuth), nil
	case ScramSHA512:
		return scram.Sha512(scramAuth), nil
	case OAuthBearer:
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := credential()
			if err == nil && c.OAuth != nil {
				token, err = c.OAuth.token(ctx, c.User, token)
			}
			return oauth.Auth{Token: token.Reveal()}, err
		}), nil
	case AWSMSKIAM:
		return newMSKIAM()
	}
	return nil, fmt.Errorf("%q is none of %s", c.Mechanism, strings.Join(SASLMechanisms(), ", "))
}

// newMSKIAM returns the mechanism of Amazon MSK. AWS's library caches the credentials
// until they expire.
func newMSKIAM() (sasl.Mechanism, error) {
	conf, err := awsconfig.LoadDefaultConfig(context.Background())
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	return aws.ManagedStreamingIAM(func(ctx context.Context) (aws.Auth, error) {
		credentials, err := conf.Credentials.Retrieve(ctx)
		if err != nil {
			return aws.Auth{}, fmt.Errorf("find AWS credentials for KAFKA_SASL_MECHANISM=%s: %w; "+
				"give the process a role, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile", AWSMSKIAM, err)
		}
		return aws.Auth{
			AccessKey: credentials.AccessKeyID, SecretKey: credentials.SecretAccessKey, SessionToken: credentials.SessionToken,
			UserAgent: "payment-capture",
		}, nil
	}), nil
}

// CheckTokenURL returns an error if text is not the address of a token endpoint. The
// client secret is sent there, so it must be https.
func CheckTokenURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("must be a URL such as https://idp.example.com/oauth2/token, without user or fragment")
	}
	return nil
}
