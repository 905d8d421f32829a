#!/usr/bin/env bash
# Smoke test of the Compose stack: start it, ask for two captures (one event
# in structured mode, one in binary mode), wait for exactly one
# payment.captured for each, look both up in the ledger, take everything down.
#
#   deploy/smoke.sh
#
# PAYMENT_CAPTURE_IMAGE names an image that is built already; without it the
# image is built. SMOKE_TIMEOUT (seconds, 120) bounds the wait for the outcomes.
# KAFKA_PORT, ADMIN_PORT and SIMULATOR_PORT move the published ports.
# Needs Docker with Compose, and kcat.
set -euo pipefail
cd "$(dirname "$0")/.."

broker="localhost:${KAFKA_PORT:-9092}"
limit="${SMOKE_TIMEOUT:-120}"
export COMPOSE_PROJECT_NAME=payment-capture-smoke
# An outer override file or profile is not part of the test.
export COMPOSE_FILE=docker-compose.yml

if docker compose version >/dev/null 2>&1; then
    compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null; then
    compose() { docker-compose "$@"; }
else
    echo "smoke: neither 'docker compose' nor docker-compose is installed" >&2
    exit 1
fi
command -v kcat >/dev/null || { echo "smoke: kcat is not installed" >&2; exit 1; }

finish() {
    local code=$?
    trap - EXIT
    if [ "$code" -ne 0 ]; then
        echo "smoke: FAILED, the services' logs follow" >&2
        compose ps >&2 || true
        compose logs --no-color --tail=100 topics simulator payment-capture >&2 || true
        compose logs --no-color kafka 2>/dev/null | grep -v ' INFO ' | tail -n 30 >&2 || true
    fi
    compose down --volumes --remove-orphans --timeout 20 >/dev/null 2>&1 || true
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

new_id() { uuidgen 2>/dev/null || cat /proc/sys/kernel/random/uuid; }

# data ORDER: an order of 700.50 MXN.
data() {
    printf '{"order_id":"%s","amount":"700.50","currency":"MXN","description":"Smoke test","external_reference":"%s","payer":{"token":"smoke-%s"}}' \
        "$1" "$1" "$1"
}

# produce KEY [HEADER…]: one record, its value from standard input.
produce() {
    local key=$1 header headers=()
    shift
    for header in "$@"; do headers+=(-H "$header"); done
    kcat -P -b "$broker" -X partitioner=murmur2_random -t order.ready_to_capture -k "$key" "${headers[@]}"
}

# consume TOPIC: all that a read-committed consumer sees now, a line a record.
consume() {
    timeout 20 kcat -C -b "$broker" -t "$1" -o beginning -e -q \
        -X isolation.level=read_committed -f '%k %h %s\n' 2>/dev/null || true
}

# outcomes TOPIC ID: how many records of the topic name the event.
outcomes() { consume "$1" | grep -c -F "$2" || true; }

echo "smoke: starting the stack"
if [ -n "${PAYMENT_CAPTURE_IMAGE:-}" ]; then
    compose up -d --no-build
else
    compose up -d --build
fi

now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
structured=$(new_id)
binary=$(new_id)
run=${structured%%-*}

printf '{"specversion":"1.0","id":"%s","source":"/smoke","type":"order.ready_to_capture","subject":"%s","time":"%s","datacontenttype":"application/json","data":%s}' \
    "$structured" "smoke-$run-1" "$now" "$(data "smoke-$run-1")" |
    produce "smoke-$run-1" content-type=application/cloudevents+json
data "smoke-$run-2" |
    produce "smoke-$run-2" content-type=application/json ce_specversion=1.0 "ce_id=$binary" \
        ce_source=/smoke ce_type=order.ready_to_capture "ce_subject=smoke-$run-2" "ce_time=$now"
echo "smoke: asked for two captures: $structured (structured mode), $binary (binary mode)"

deadline=$((SECONDS + limit))
until [ "$(outcomes payment.captured "$structured")" -ge 1 ] && [ "$(outcomes payment.captured "$binary")" -ge 1 ]; do
    for topic in payment.rejected payment-capture.parked; do
        for id in "$structured" "$binary"; do
            if [ "$(outcomes "$topic" "$id")" -gt 0 ]; then
                echo "smoke: $id ended in $topic:" >&2
                consume "$topic" >&2
                exit 1
            fi
        done
    done
    if [ "$SECONDS" -ge "$deadline" ]; then
        echo "smoke: no payment.captured for both events within $limit s" >&2
        exit 1
    fi
    sleep 1
done

consume payment.captured
for id in "$structured" "$binary"; do
    count=$(outcomes payment.captured "$id")
    if [ "$count" -ne 1 ]; then
        echo "smoke: $count outcomes for $id, not 1" >&2
        exit 1
    fi
done
# The ledger knows both.
for id in "$structured" "$binary"; do
    known=$(compose exec -T payment-capture /payment-capture ledger get "$id")
    if ! grep -q '^decision *captured$' <<<"$known"; then
        echo "smoke: the ledger has for $id: $known" >&2
        exit 1
    fi
done
echo "smoke: ok"
