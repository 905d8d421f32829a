package mercadopago

import "testing"

// TestCause covers the causes that may concern more than one event. A halt is certain
// if the API itself names the cause.
func TestCause(t *testing.T) {
	t.Parallel()
	const apiJSON = `{"message":"m","error":"forbidden","status":403,"cause":[]}`
	tests := map[string]struct {
		status  int
		body    string
		cause   Cause
		certain bool
	}{
		"403, policy agent":      {403, testdata(t, "host_policy_agent"), CauseAccount, true},
		"403, error of the API":  {403, apiJSON, CauseAccount, true},
		"403, a firewall's page": {403, `<html>Request blocked</html>`, CauseAccount, false},
		"403, empty":             {403, ``, CauseAccount, false},
		"403, an empty object":   {403, `{}`, CauseAccount, false},
		"403, a message alone":   {403, `{"message":"Forbidden"}`, CauseAccount, false},
		"403, text":              {403, `"error"`, CauseAccount, false},
		"403 within 200":         {200, apiJSON, CauseAccount, true},
		"404, whitelist":         {404, testdata(t, "error_client_not_whitelisted"), CauseAccount, true},
		"404, a proxy's page":    {404, `<html>404</html>`, CauseAddress, false},
		"404, no cause":          {404, `{"message":"x","error":"not_found","status":404,"cause":[]}`, CauseAddress, true},
		"405, empty":             {405, ``, CauseAddress, false},
		"405, a page":            {405, `<html>`, CauseAddress, false},
		"405, error of the API":  {405, `{"status":405,"error":"method_not_allowed","message":"m"}`, CauseAddress, true},
		"405, no message":        {405, `{"status":405,"error":"method_not_allowed"}`, CauseAddress, false},
		"403, problem details":   {403, `{"type":"about:blank","title":"Access denied","status":403}`, CauseAccount, false},
		"404, problem details":   {404, `{"title":"Not Found","status":404}`, CauseAddress, false},
		"403, error alone":       {403, `{"error":"Forbidden"}`, CauseAccount, false},
		"403, error in error":    {403, `{"error":{"code":403,"message":"Forbidden"}}`, CauseAccount, false},
		"403, status as code":    {403, `{"code":403,"message":"Forbidden"}`, CauseAccount, false},
		"403, code of a gateway": {403, `{"code":"AccessDenied","message":"Access Denied"}`, CauseAccount, false},
		"403, a status code":     {403, `{"statusCode":403,"error":"Forbidden","message":"Forbidden"}`, CauseAccount, false},
		"302, a page":            {302, `<html>`, CauseAddress, false},
		"501, empty":             {501, ``, CauseAddress, false},
		"400, application":       {400, cause(`400004`, "x"), CauseAccount, true},
		"400, key header":        {400, cause(`400058`, "x"), CauseKeyHeader, true},
		"401, code 401000":       {401, cause(`"401000"`, "x"), CauseCredential, true},
		"401, code 401002":       {401, cause(`401002`, "x"), CauseCredential, true},
		"401, code 5":            {401, testdata(t, "host_no_access_token"), CauseCredential, true},
		"401, code 7":            {401, testdata(t, "host_live_credentials"), CauseCredential, true},
		"401, the edge":          {401, testdata(t, "host_edge_unauthorized"), CauseCredential, true},
		"401, empty":             {401, ``, CauseCredential, false},
		"401, a page":            {401, `<html>`, CauseCredential, false},
		"401, no known cause":    {401, `{"message":"unauthorized","error":"unauthorized","status":401}`, CauseCredential, false},
		"401, payer and another": {401, `{"cause":[{"code":"401003"},{"code":"401999"}]}`, CauseCredential, false},
		"401, payer, another, and a text": {
			401, `{"message":"no access token","cause":[{"code":"401003"},{"code":"401999"}]}`, CauseCredential,
			false,
		},
		"401, payer and credential": {401, `{"cause":[{"code":"401003"},{"code":"401000"}]}`, CauseCredential, true},
		"407":                       {407, `<html>`, CauseProxy, true},
		"401, payer":                {401, testdata(t, "error_invalid_payer_token"), CausePayer, false},
		"404, payer":                {404, cause(`404003`, "x"), CausePayer, false},
		"400, amount":               {400, cause(`400017`, "x"), CauseRequest, false},
		"418":                       {418, ``, CauseRequest, false},
		"201, contradiction":        {201, mustReplace(t, testdata(t, "approved"), "700.50", "700.05"), CauseContradiction, false},
		"201, approved":             {201, testdata(t, "approved"), CauseApproved, false},
		"201, rejected":             {201, testdata(t, "rejected_card"), CauseDeclined, false},
		"422":                       {422, ``, CauseKeyUsed, false},
		"503":                       {503, `<html>`, CauseServerError, false},
		"421":                       {421, ``, CauseServerError, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := judge(sampleRequest(t), tt.status, tt.body)
			checkSound(t, a)
			if a.Cause != tt.cause || a.Certain != tt.certain {
				t.Errorf("got cause %s, certain %t, want %s and %t: %s", a.Cause, a.Certain, tt.cause, tt.certain, a.Detail)
			}
		})
	}
}

// TestRefusedBeforeThePayment covers the answers that prove that no money moved,
// though they are no rejection.
func TestRefusedBeforeThePayment(t *testing.T) {
	t.Parallel()
	for _, status := range []int{401, 403, 405, 407, 421, 429} {
		a := judge(sampleRequest(t), status, `<html>`)
		if a.EffectUnknown() || !a.RefusedUnseen() {
			t.Errorf("HTTP %d: effect unknown %t, refused unseen %t", status, a.EffectUnknown(), a.RefusedUnseen())
		}
	}
	for _, status := range []int{302, 409, 501, 503} {
		a := judge(sampleRequest(t), status, `<html>`)
		if !a.EffectUnknown() || a.RefusedUnseen() {
			t.Errorf("HTTP %d: effect unknown %t, refused unseen %t", status, a.EffectUnknown(), a.RefusedUnseen())
		}
	}
}
