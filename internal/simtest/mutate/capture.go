package main

// captureBugs are bugs in the calls for one event and in the classification of
// answers.
func captureBugs() []bug {
	const capture, client = "internal/capture", "internal/mercadopago"
	const unanswered = `$seen.Meaning, $seen.Cause, $seen.ParkReason, $seen.HTTPStatus = Retry, CauseNoAnswer, event.ParkUndecided, $status`
	return []bug{
		{"each call has a key of its own", []edit{{
			in:   capture,
			find: `$a.last = $c.api.Capture($ctx, $a.request)`,
			put: `again := $a.request
				if $a.calls > 0 {
					again.Key = fmt.Sprintf("%s-%d", again.Key, $a.calls)
				}
				$a.last = $c.api.Capture($ctx, again)`,
			needs: []string{"fmt"},
		}}},
		{"duplicates are charged", []edit{{
			in:   "internal/rules",
			find: `duplicate := $r.duplicate($c, $d.Resent, $now)`,
			put:  `duplicate := $r.duplicate($c, $d.Resent, $now); duplicate = nil`,
		}}},
		{"each process has a key of its own", []edit{{
			in:   capture,
			find: `$a.entry.Body = event.FingerprintOf($a.request.Body)`,
			put: `$a.entry.Body = event.FingerprintOf($a.request.Body)
				if time.Since($a.event.Time) > 3*time.Second { $a.request.Key += "-late" }`,
			needs: []string{"time"},
		}}},
		{"each call has a body of its own", []edit{{
			in:   capture,
			find: `$a.last = $c.api.Capture($ctx, $a.request)`,
			put: `again := $a.request
				again.Body = append(again.Body[:len(again.Body):len(again.Body)], fmt.Sprintf("%*s", $a.calls, "")...)
				$a.last = $c.api.Capture($ctx, again)`,
			needs: []string{"fmt"},
		}}},
		{"a time-out counts as a rejection", []edit{{
			in: client, find: unanswered,
			put:   unanswered + `; if errors.Is(err, context.DeadlineExceeded) { $seen.Meaning, $seen.Reason = Rejected, "timeout" }`,
			needs: []string{"errors", "context"},
		}}},
		{"a lost connection counts as a rejection", []edit{{
			in: client, find: unanswered,
			put: unanswered + `; if ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
					$seen.Meaning, $seen.Reason = Rejected, "no_connection"
				}`,
			needs: []string{"errors", "context"},
		}}},
		{"a 5xx counts as captured", []edit{{
			in:   client,
			find: `case $status >= 500 || $status < 200: return Answer{Meaning: Retry, Cause: CauseServerError}`,
			put:  `case $status >= 500 || $status < 200: return Answer{Meaning: Captured, Cause: CauseServerError}`,
		}}},
		{"a 5xx is parked", []edit{{
			in:   client,
			find: `case $status >= 500 || $status < 200: return Answer{Meaning: Retry, Cause: CauseServerError}`,
			put: `case $status >= 500 || $status < 200:
				return Answer{Meaning: Park, Cause: CauseServerError, ParkReason: event.ParkUndecided}`,
		}}},
		{"a 429 is parked", []edit{{
			in:   client,
			find: `return Answer{Meaning: Wait, Cause: CauseRateLimit}`,
			put:  `return Answer{Meaning: Park, Cause: CauseRateLimit, ParkReason: event.ParkRefusedRequest}`,
		}}},
		{"a busy key counts as a rejection", []edit{{
			in:   client,
			find: `return Answer{Meaning: Wait, Cause: CauseKeyBusy}`,
			put:  `return Answer{Meaning: Rejected, Cause: CauseKeyBusy, Reason: "busy"}`,
		}}},
		{"an error after a call of unknown effect decides", []edit{{
			in:   capture,
			find: `if $why := $a.doubt(); $why != "" {`,
			put:  `if $why := $a.doubt(); $why == "-" {`,
		}}},
		{"no call has an unknown effect", []edit{{
			in:   capture,
			find: `$a.mayHaveCharged = $a.mayHaveCharged || $a.last.EffectUnknown()`,
			put:  `$a.mayHaveCharged = false`,
		}}},
		{"an empty lookup counts as a rejection", []edit{{
			in:   capture,
			find: `why = "no payment was found under its reference"`,
			put:  `a.last.Reason, a.last.Payment = "not_found", nil; return c.outcome(ctx, a, event.TypeRejected), true, ""`,
		}}},
		{"a halt parks the event", []edit{{
			in:   capture,
			find: `case $scope == limiter.ScopeService: continue`,
			put:  `case $scope == limiter.ScopeService: return c.park(a, event.ParkBlocked, "halted"), nil`,
		}}},
		{"a payment in process counts as captured", []edit{{
			in:   client,
			find: `$a.Meaning, $a.Cause = Poll, CauseInProcess`,
			put:  `$a.Meaning, $a.Cause = Captured, CauseInProcess`,
		}}},
	}
}
