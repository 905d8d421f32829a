package simulator

import (
	"fmt"
	"net/http"
)

// addControls adds the simulator's own endpoints. They ask for no bearer.
func (s *Simulator) addControls(mux *http.ServeMux) {
	mux.HandleFunc("GET /_simulator/health", func(w http.ResponseWriter, _ *http.Request) {
		jsonReply(http.StatusOK, map[string]string{"status": "ok"}).writeTo(w)
	})
	mux.HandleFunc("GET /_simulator/charges", func(w http.ResponseWriter, _ *http.Request) {
		charges := s.Charges()
		double := charges.DoubleCharges()
		if double == nil {
			double = []string{}
		}
		jsonReply(http.StatusOK, struct {
			DoubleCharges []string `json:"double_charges"`
			Charges
		}{double, charges}).writeTo(w)
	})
	mux.HandleFunc("POST /_simulator/script", func(w http.ResponseWriter, r *http.Request) {
		script, err := ParseScript(r.Body)
		if err == nil {
			err = s.Apply(script)
		}
		controlReply(err).writeTo(w)
	})
	mux.HandleFunc("DELETE /_simulator/script", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearScript()
		controlReply(nil).writeTo(w)
	})
	mux.HandleFunc("POST /_simulator/forget-keys", func(w http.ResponseWriter, _ *http.Request) {
		s.ForgetKeys()
		controlReply(nil).writeTo(w)
	})
	mux.HandleFunc("POST /_simulator/token", func(w http.ResponseWriter, r *http.Request) {
		controlReply(s.controlToken(r)).writeTo(w)
	})
}

func (s *Simulator) controlToken(r *http.Request) error {
	var wanted struct {
		State       TokenState `json:"state"`
		AccessToken string     `json:"access_token"`
	}
	if err := decodeStrict(r.Body, &wanted); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := oneOf("state", wanted.State, TokenOK, TokenExpired, TokenBlocked); err != nil {
		return err
	}
	s.SetAccessToken(wanted.AccessToken, wanted.State)
	return nil
}

// controlReply is 204, or 400 with the error as JSON.
func controlReply(err error) reply {
	if err == nil {
		return reply{status: http.StatusNoContent}
	}
	return jsonReply(http.StatusBadRequest, map[string]string{"error": err.Error()})
}
