package main

// captureMutations are bugs in what one event's tries do and in what answers
// mean.
func captureMutations() []mutation {
	const (
		capture = "internal/capture/capture.go"
		client  = "internal/mercadopago/client.go"
		errs    = "internal/mercadopago/decide_errors.go"
	)
	return []mutation{
		{
			name: "a new key for each try", file: capture,
			old: "		a.last = c.api.Capture(ctx, a.request)",
			new: "		again := a.request\n		if a.calls > 0 {\n			again.Key = fmt.Sprintf(\"%s-%d\", again.Key, a.calls)\n		}\n		a.last = c.api.Capture(ctx, again)",
		},
		{
			name: "a new key for each process", file: "internal/capture/attempt.go",
			old: "	a.noted.Body = event.FingerprintOf(a.request.Body)\n",
			new: "	a.noted.Body = event.FingerprintOf(a.request.Body)\n	if time.Since(e.Time) > 3*time.Second {\n		a.request.Key += \"-late\"\n	}\n",
		},
		{
			name: "another body for each try", file: capture,
			old: "		a.last = c.api.Capture(ctx, a.request)",
			new: "		again := a.request\n		again.Body = append(again.Body[:len(again.Body):len(again.Body)], fmt.Sprintf(\"%*s\", a.calls, \"\")...)\n		a.last = c.api.Capture(ctx, again)",
		},
		{
			name: "a time-out is called a rejection", file: client,
			old: "	seen.Meaning, seen.ParkReason, seen.HTTPStatus = Retry, event.ParkUndecided, status\n",
			new: "	seen.Meaning, seen.ParkReason, seen.HTTPStatus = Retry, event.ParkUndecided, status\n	if errors.Is(err, context.DeadlineExceeded) {\n		seen.Meaning, seen.Reason = Rejected, \"timeout\"\n	}\n",
		},
		{
			name: "a lost connection is called a rejection", file: client,
			old: "	seen.Meaning, seen.ParkReason, seen.HTTPStatus = Retry, event.ParkUndecided, status\n",
			new: "	seen.Meaning, seen.ParkReason, seen.HTTPStatus = Retry, event.ParkUndecided, status\n	if ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {\n		seen.Meaning, seen.Reason = Rejected, \"no_connection\"\n	}\n",
		},
		{
			name: "a 5xx is called captured", file: errs,
			old: "		return Answer{Meaning: Retry, Row: 38}, true",
			new: "		return Answer{Meaning: Captured, Row: 38}, true",
		},
		{
			name: "a 5xx is parked", file: errs,
			old: "		return Answer{Meaning: Retry, Row: 38}, true",
			new: "		return Answer{Meaning: Park, Row: 38, ParkReason: event.ParkUndecided}, true",
		},
		{
			name: "a 429 is parked", file: errs,
			old: "		return Answer{Meaning: Wait, Row: 37}, true",
			new: "		return Answer{Meaning: Park, Row: 37, ParkReason: event.ParkRefusedRequest}, true",
		},
		{
			name: "a busy key is called a rejection", file: errs,
			old: "		return Answer{Meaning: Wait, Row: 21}, true",
			new: "		return Answer{Meaning: Rejected, Row: 21, Reason: \"busy\"}, true",
		},
		{
			name: "an error after an unknown try is believed", file: capture,
			old: "		if why := a.doubt(); why != \"\" {",
			new: "		if why := a.doubt(); why == \"-\" {",
		},
		{
			name: "no try is unknown", file: capture,
			old: "	a.unknown = a.unknown || a.last.EffectUnknown()",
			new: "	a.unknown = false",
		},
		{
			name: "nothing found is called a rejection", file: "internal/capture/reconcile.go",
			old: "		note = \"no payment was found under its reference\"",
			new: "		a.last.Reason, a.last.Payment = \"not_found\", nil\n		return c.settle(ctx, a, event.TypeRejected), true, \"\"",
		},
		{
			name: "a halt is parked", file: capture,
			old: "		return notOfTheEvent, nil",
			new: "		a.last.Meaning = mercadopago.Park\n		return answered, nil",
		},
		{
			name: "a payment in process is called captured", file: "internal/mercadopago/decide.go",
			old: "		a.Meaning, a.Row = Poll, 5\n",
			new: "		a.Meaning, a.Row = Captured, 5\n",
		},
	}
}
