# Everything here needs only Go, make and, to install servers, root or Docker.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The same flags for both programs: with others every package would be compiled twice.
GO_BUILD := CGO_ENABLED=0 go build -trimpath
GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
REDOCLY := REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx --yes @redocly/cli@1.34.11
ACTIONLINT := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
LOCALSTACK := bin/localstack
TEST_STATE := .local/test
BENCH_STATE := .local/bench
FAULTS_STATE := .local/faults
T := 30s
STATES := $(TEST_STATE) $(BENCH_STATE) $(FAULTS_STATE) .local

.DEFAULT_GOAL := help
.PHONY: help build run-local stop-local clean-local test fuzz lint fmt check bin/bench bench bench-quick profile faults

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/user-service
	@test -e bin/user-service || echo "building bin/user-service (about a minute on a fresh machine)"
	@$(GO_BUILD) -ldflags '-s -w -X main.version=$(VERSION)' -o bin/user-service ./cmd/user-service

$(LOCALSTACK): $(shell find cmd/localstack -name '*.go') go.mod
	@echo "building bin/localstack, which starts private servers"
	@$(GO_BUILD) -o $@ ./cmd/localstack

run-local: $(LOCALSTACK) build ## Start private PostgreSQL, Redis and RabbitMQ, then the service on port 8000
	@DEBUG="$${DEBUG:-true}" MIGRATE_ON_START="$${MIGRATE_ON_START:-true}" exec $(LOCALSTACK) run -- bin/user-service serve

stop-local: $(LOCALSTACK) ## Stop the private servers
	@for state in $(STATES); do $(LOCALSTACK) --state $$state down; done

clean-local: $(LOCALSTACK) ## Stop the private servers and delete their data
	@for state in $(STATES); do $(LOCALSTACK) --state $$state clean; done

# More at a time than there are cores, as tests wait for servers and for clocks; lint vets already.
test: $(LOCALSTACK) ## Run every test with the race detector, on private servers
	@$(LOCALSTACK) --state $(TEST_STATE) run --fast --last-word -- go test -race -count=1 -timeout 20m -p 3 -parallel 6 -vet=off ./...

# Again after a failure: until Go 1.27 the end of the time may be one (golang/go#75804). An input that
# fails is kept, and fails the second time too.
fuzz: $(LOCALSTACK) ## Fuzz every body and parser for T (30s), three at a time
	@$(LOCALSTACK) --state $(TEST_STATE) run --fast -- bash -euo pipefail -c '\
	  grep -rHo --include=*_test.go "^func Fuzz[A-Za-z]*" . | sort | sed "s|/[^/]*:func | |" | \
	  xargs -P 3 -L 1 bash -c "for try in 1 2; do go test \$$0 -run ^$$ -fuzz ^\$$1\$$ -fuzztime $(T) -fuzzminimizetime 1x -parallel 1 && break; done 2>&1 | grep -v elapsed: | sed s/^/\$$1:\ / && exit \$${PIPESTATUS[0]}"'

lint: ## Check style, imports, Dockerfile, compose file, workflow and the API's document (with node's npx)
	$(GOLANGCI) run ./...
	cd docker/lint && go vet ./... && go test ./... && go run . ../..
	cd docker/examples/go && go vet ./...
	$(ACTIONLINT)
	@mkdir -p .local && go run ./cmd/user-service openapi > .local/openapi.json
	$(REDOCLY) lint .local/openapi.json

fmt: ## Format the code
	$(GOLANGCI) fmt ./...

check: lint fuzz test ## Lint, fuzz, then test

# Not by go run, which would keep a signal to itself.
bin/bench:
	@$(GO_BUILD) -o $@ ./cmd/bench

bench: $(LOCALSTACK) bin/bench ## Measure the service against floors, on private servers
	@$(LOCALSTACK) --state $(BENCH_STATE) run -- bin/bench $(A)

bench-quick: ## One short round; fails when a ratio is less than half its bar
	@$(MAKE) --no-print-directory bench A='--quick --only get,preferences,patch,relay,push,slow,login,register'

profile: $(LOCALSTACK) bin/bench ## Take profiles of the service under load into .local/profile, and show what took the most
	@$(LOCALSTACK) --state $(BENCH_STATE) run -- bin/bench profile $(A)

faults: ## Make 48 faults under load, and prove that nothing acknowledged is lost or done twice (A=--quick: 3 minutes)
	@go run ./cmd/faults --state $(FAULTS_STATE) $(A)
