//go:build synctests || integration

package acceptance

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"payment-capture/internal/config"
	"payment-capture/internal/secret"
)

// tokenFileUnreadable makes the file of the access token unusable between captures. The
// log reports it, and the service continues with the last token.
func tokenFileUnreadable(spoil func(file string) error) func(w *world) {
	return func(w *world) {
		file := filepath.Join(w.t.TempDir(), "token")
		write := func() {
			if err := os.WriteFile(file, []byte(accessToken), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
		logged := func(message string) bool {
			return containsAll(w.log.String(), `"msg":"`+message+`"`, `"variable":"MERCADOPAGO_ACCESS_TOKEN_FILE"`, file)
		}
		write()
		in := w.start("a", func(c *config.Config) {
			c.MercadoPagoAccessToken, c.MercadoPagoAccessTokenFile = secret.Text{}, file
		})
		w.eventually("the instance is ready", func() bool { ready, _ := in.readyz(); return ready })
		if err := spoil(file); err != nil {
			w.t.Fatal(err)
		}
		w.eventually("the log reports that the file cannot be read", func() bool {
			return logged("file cannot be read; its last good content stays in use")
		})
		w.send(order{id: "e1"})
		w.awaitDecisions()
		if n := strings.Count(w.log.String(), "file cannot be read"); n != 1 {
			w.t.Errorf("%d warnings, want 1", n)
		}
		if err := os.RemoveAll(file); err != nil {
			w.t.Fatal(err)
		}
		write()
		w.eventually("the log reports that the file can be read again", func() bool { return logged("file can be read again") })
		w.want(w.awaitDecisions(), map[string]int{"captured": 1})
	}
}

func emptied(file string) error { return os.WriteFile(file, nil, 0o600) }

func replacedByDirectory(file string) error {
	return errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
}
