//go:build synctests || integration

package acceptance

import (
	"os"
	"path/filepath"
	"strings"

	"payment-capture/internal/config"
	"payment-capture/internal/secret"
)

// tokenFileEmptied empties the file of the access token between captures. The log
// reports it, and the service continues with the last token.
func tokenFileEmptied(w *world) {
	file := filepath.Join(w.t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	logged := func(message string) bool {
		return containsAll(w.log.String(), `"msg":"`+message+`"`, `"variable":"MERCADOPAGO_ACCESS_TOKEN_FILE"`, file)
	}
	write(accessToken)
	in := w.start("a", func(c *config.Config) {
		c.MercadoPagoAccessToken, c.MercadoPagoAccessTokenFile = secret.Text{}, file
	})
	w.eventually("the instance is ready", func() bool { ready, _ := in.readyz(); return ready })
	write("")
	w.eventually("the log reports that the file cannot be read", func() bool {
		return logged("file cannot be read; its last good content stays in use")
	})
	w.send(order{id: "e1"})
	w.awaitDecisions()
	if n := strings.Count(w.log.String(), "file cannot be read"); n != 1 {
		w.t.Errorf("%d warnings, want 1", n)
	}
	write(accessToken)
	w.eventually("the log reports that the file can be read again", func() bool { return logged("file can be read again") })
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}
