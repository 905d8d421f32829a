# Everything a contributor runs. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
IMAGE ?= payment-capture:local
EVENTS ?= 2000
FUZZTIME ?= 20s
CHAOS_MINUTES ?= 3
RUNS ?= 1000
SEED ?= 1
MIX ?= base,latency0,slow,replay
ROUNDS ?= 5
BENCH_FLAGS ?= -window 4s

TOOL := go tool -modfile=internal/tools/go.mod
SUPPLY := go tool -modfile=internal/tools/supplychain/go.mod
# franz-go needs this tag to run in a testing/synctest bubble.
UNIT_TAGS := synctests
INTEGRATION_TAGS := integration,synctests
ALL_TAGS := $(INTEGRATION_TAGS),chaos
# The packages with a budget of allocations per event. The race detector allocates too, so their budgets hold without it only.
BUDGETED := ./internal/event ./internal/ledger ./internal/ledger/entry ./internal/mercadopago
# The licences that a dependency may have. Files that are not Go cause warnings, which are discarded. Without GOROOT, go-licenses that was
# built with -trimpath takes every package for one of the standard library, and finds no licence at all.
LICENSES := Apache-2.0,BSD-2-Clause,BSD-3-Clause,ISC,MIT,MPL-2.0
LICENSE_FLAGS := --ignore payment-capture --logtostderr=false --stderrthreshold=ERROR --log_file=/dev/null
PROTOGEN := go -C internal/tools run ./protogen ../../schemas/ledger.proto
LEDGERPB := internal/ledger/ledgerpb/ledger.pb.go
CHART := deploy/helm/payment-capture
# The comment of the values is that of the manifest.
PLAIN_VALUES := deploy/helm/kubernetes.values.yaml
# The oldest version of Kubernetes that Chart.yaml allows, and the newest that the validator knows.
KUBERNETES := 1.27 1.37
# The race detector needs cgo and a C compiler; without them "make race" runs the tests without it.
RACE = $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v $(firstword $(shell go env CC)) >/dev/null && echo -race)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/payment-capture
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/payment-capture ./cmd/payment-capture

.PHONY: test
test: ## Run the unit and virtual-time tests (needs Go only; no Docker)
	go test -shuffle=on -tags $(UNIT_TAGS) ./...

.PHONY: race
race: ## Run the same tests with the race detector, and the allocation budgets without it
	go test $(RACE) -timeout 30m -shuffle=on -tags $(UNIT_TAGS) ./...
	go test -tags $(UNIT_TAGS) -run '^TestAllocations' $(BUDGETED)

.PHONY: integration
integration: ## Run the acceptance tests on a real broker (needs Docker)
	@mkdir -p bin
	$(TOOL) gotestsum --format testname --jsonfile bin/integration.json -- \
		$(RACE) -tags $(INTEGRATION_TAGS) -count=1 -timeout 30m ./internal/acceptance/...

.PHONY: integration-old
integration-old: ## Run those that depend on the broker on Kafka 3.9.1, or on KAFKA_IMAGE (needs Docker)
	@mkdir -p bin
	KAFKA_IMAGE="$${KAFKA_IMAGE:-apache/kafka:3.9.1}" $(TOOL) gotestsum --format testname --jsonfile bin/integration-old.json -- \
		-tags $(INTEGRATION_TAGS) -count=1 -timeout 15m -parallel 6 \
		-run '^(TestIntegration|TestHangingTransaction|TestKafkaPermissions)$$/^(broker_scenarios|the_broker_is_killed|each|[0-9])' ./internal/acceptance

.PHONY: chaos
chaos: ## Kill, suspend and cut off instances and broker: CHAOS_MINUTES=3 SEED= (needs Docker)
	@mkdir -p bin
	CHAOS_MINUTES='$(CHAOS_MINUTES)' SEED='$(SEED)' $(TOOL) gotestsum --format standard-verbose --jsonfile bin/chaos.json -- \
		$(RACE) -tags $(ALL_TAGS) -count=1 -timeout $$(($(CHAOS_MINUTES) + 15))m -run '^TestChaos$$' -artifacts -outputdir "$(CURDIR)/bin" ./internal/acceptance

.PHONY: prove
prove: ## Run the simulation test with faults and kills: RUNS=1000 SEED=1, or one run of a seed: RUN=7
	@mkdir -p bin
	go test -tags $(UNIT_TAGS) -c -o bin/simtest.test ./internal/simtest
	bin/simtest.test -test.run '^TestSimulation$$' -test.timeout 0 -runs $(RUNS) -seed $(SEED) $(if $(RUN),-index $(RUN))

.PHONY: mutants
mutants: ## Plant bugs, one at a time, which the simulation test must catch: RUNS=1000 SEED=1
	go run ./internal/simtest/mutate -runs $(RUNS) -seed $(SEED)

.PHONY: bench
bench: ## Measure the service beside plain loops on a real broker: MIX=base,latency0,slow,replay ROUNDS=5 (needs Docker)
	@mkdir -p bin
	CGO_ENABLED=0 go -C bench build -trimpath -o ../bin/bench .
	bin/bench -mix '$(MIX)' -rounds $(ROUNDS) -results bin/bench.jsonl -plots bin $(BENCH_FLAGS)

.PHONY: generate
generate: ## Generate the Go code of schemas/ledger.proto
	$(PROTOGEN) > $(LEDGERPB).new
	mv $(LEDGERPB).new $(LEDGERPB)

# Without the tag, it has the service discoveries of all clouds.
bin/promtool: internal/tools/prometheus/go.mod
	CGO_ENABLED=0 go build -modfile=internal/tools/prometheus/go.mod -trimpath -tags remove_all_sd -o bin/ github.com/prometheus/prometheus/cmd/promtool
	touch bin/promtool

.PHONY: alerts
alerts: bin/promtool ## Check and test the Prometheus rules
	bin/promtool check rules deploy/observability/rules/*.yaml
	bin/promtool test rules deploy/observability/tests/*.yaml

.PHONY: check
check: alerts ## Check generated code, formatting, vet, go fix, lint, modules and alerts; change nothing
	$(PROTOGEN) | diff -u $(LEDGERPB) -
	$(TOOL) golangci-lint config verify
	$(TOOL) golangci-lint fmt --diff
	go vet ./...
	go vet -tags $(UNIT_TAGS) ./...
	go vet -tags $(ALL_TAGS) ./...
	go fix -diff -tags $(ALL_TAGS) ./...
	$(TOOL) golangci-lint run
	go mod tidy -diff
	go mod verify
	go -C internal/tools vet ./...
	go -C internal/tools mod tidy -diff
	$(HELM_MODULE) vet -trimpath ./...
	go -C internal/tools/helm mod tidy -diff
	go -C internal/tools/supplychain mod tidy -diff
	go -C internal/tools/prometheus mod tidy -diff
	go -C bench vet .
	go -C bench mod tidy -diff
	$(SUPPLY) actionlint
	@! grep -rn 'uses:' .github/workflows | grep -vE '@[0-9a-f]{40} # v[0-9]' || { echo 'pin these actions by commit hash, with the version as a comment' >&2; exit 1; }

.PHONY: licenses
licenses: export GOROOT = $(shell go env GOROOT)
licenses: ## Check the licences of all dependencies; collect those of the binary in bin/licenses
	go build -modfile=internal/tools/supplychain/go.mod -o bin/go-licenses github.com/google/go-licenses
	GOFLAGS="$$(go env GOFLAGS) -tags=$(ALL_TAGS)" bin/go-licenses check --include_tests --allowed_licenses=$(LICENSES) $(LICENSE_FLAGS) ./...
	cd bench && ../bin/go-licenses check --allowed_licenses=$(LICENSES) $(LICENSE_FLAGS) .
	rm -rf bin/licenses
	GOOS=linux GOARCH=amd64 CGO_ENABLED=0 bin/go-licenses save --save_path bin/licenses $(LICENSE_FLAGS) ./cmd/payment-capture
	test -d bin/licenses/github.com

.PHONY: vulnerabilities
vulnerabilities: ## Look for known vulnerabilities in the code that is called (asks vuln.go.dev)
	$(SUPPLY) govulncheck -tags $(ALL_TAGS) ./...

# The same flags everywhere, so that the packages are compiled once.
HELM_MODULE := CGO_ENABLED=0 go -C internal/tools/helm
bin/helm bin/crds &: internal/tools/helm/go.mod internal/tools/helm/crds/main.go
	$(HELM_MODULE) build -trimpath -o ../../../bin/ ./crds helm.sh/helm/v4/cmd/helm
	touch bin/helm bin/crds

bin/venv: deploy/helm/requirements.txt
	python3 -m venv --clear bin/venv
	bin/venv/bin/pip install --quiet --disable-pip-version-check -r deploy/helm/requirements.txt
	touch bin/venv

.PHONY: render
render: bin/helm
	rm -rf bin/chart
	mkdir -p bin/chart/golden
	cp -rL $(CHART) bin/chart/source
	rm -rf bin/chart/source/observability
	cp -r deploy/helm/testdata/observability bin/chart/source/
	{ grep '^#' $(PLAIN_VALUES); bin/helm template payment-capture $(CHART) -f $(PLAIN_VALUES); } > bin/chart/kubernetes.yaml
	bin/helm template payment-capture $(CHART) -f $(CHART)/trial/values.yaml > bin/chart/trial.yaml
	for values in deploy/helm/testdata/*.yaml; do \
		bin/helm template test bin/chart/source -f "$$values" > "bin/chart/golden/$$(basename "$$values")"; \
	done

.PHONY: manifest
manifest: render ## Generate deploy/kubernetes.yaml and the golden files from the Helm chart
	cp bin/chart/kubernetes.yaml deploy/kubernetes.yaml
	cp bin/chart/golden/* deploy/helm/testdata/golden/

.PHONY: chart
chart: render bin/crds bin/venv ## Check the Helm chart, and what is generated from it (needs Python)
	diff -u deploy/kubernetes.yaml bin/chart/kubernetes.yaml
	diff -ru deploy/helm/testdata/golden bin/chart/golden
	for values in $(PLAIN_VALUES) $(CHART)/trial/values.yaml deploy/helm/testdata/*.yaml; do \
		bin/helm lint --strict --quiet bin/chart/source -f "$$values"; \
	done
	bin/crds bin/chart/*.yaml bin/chart/golden/*.yaml
	bin/venv/bin/kubernetes-validate --strict --quiet $(KUBERNETES:%=-k %) $(CHART)/trial/kafka.yaml \
		bin/chart/*.yaml bin/chart/golden/*.yaml > bin/chart/validation || { cat bin/chart/validation; exit 1; }
	! grep WARN bin/chart/validation | grep -v -E 'kind (PodMonitor|PrometheusRule|ScaledObject|ServiceMonitor) '

.PHONY: fmt
fmt: ## Format the code and apply go fix
	go fix -tags $(ALL_TAGS) ./...
	$(TOOL) golangci-lint fmt

.PHONY: demo
demo: ## Run the service on a fake broker and a simulated API: EVENTS=2000
	go run ./cmd/payment-capture demo --events $(EVENTS)

.PHONY: cover
cover: ## Measure coverage: the total, and bin/cover.html
	@mkdir -p bin
	go test -tags $(UNIT_TAGS) -coverpkg=./... -coverprofile=bin/cover.out ./...
	go tool cover -html=bin/cover.out -o bin/cover.html
	go tool cover -func=bin/cover.out | tail -n 1

.PHONY: fuzz
fuzz: ## Run each fuzz test for a short time: FUZZTIME=20s
	@for pkg in $$(go list -tags $(UNIT_TAGS) ./...); do \
		for name in $$(go test -tags $(UNIT_TAGS) -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "$$pkg $$name"; \
			go test -tags $(UNIT_TAGS) -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

.PHONY: image
image: ## Build the container image: IMAGE=payment-capture:local
	docker build --build-arg VERSION=$(VERSION) --build-arg GOPROXY --build-arg GOSUMDB --build-arg GO_IMAGE \
		$(DOCKER_BUILD_FLAGS) -t $(IMAGE) -f deploy/Dockerfile .

.PHONY: smoke
smoke: ## Start the Compose stack, capture two orders, take it down (needs Docker, kcat)
	deploy/smoke.sh

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
