# Targets for people; `make` lists them. The commands of the README need only Go.
SHELL := /bin/bash
GO    ?= go
TOOLS := $(CURDIR)/bin/tools

GOLANGCI    := v2.6.0
GOVULNCHECK := v1.1.4

.DEFAULT_GOAL := help
.PHONY: help run build test race check lint fuzz bench generate generate-check e2e tools services vuln clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Run a hub on the quick-start file
	$(GO) run ./cmd/millrace serve configs/quickstart.yaml

build: ## Build bin/millrace
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/millrace ./cmd/millrace

test: ## Run every test that this machine can
	$(GO) test ./...

race: ## The same with the race detector, in random order
	$(GO) test -race -shuffle=on ./...

e2e: build ## Run the built binary against real clients and servers
	$(GO) test -count=1 ./test/...

check: race lint generate-check vuln ## All that CI checks, but for installing services

lint: tools ## Static analysis, formatting, import rules, go.mod
	$(TOOLS)/golangci-lint run ./...
	$(GO) test -count=1 ./internal/archtest
	$(GO) mod tidy -diff
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./cmd/millrace && rm -f millrace

vuln: tools ## Look for known vulnerabilities in what the binary calls
	@if curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/modules.json 2>/dev/null; then \
		$(TOOLS)/govulncheck ./...; \
	else echo "govulncheck: skipped, since its database (vuln.go.dev) is not reachable from here"; fi

fuzz: ## Fuzz every parser for FUZZTIME (10s) each
	test/fuzz.sh

bench: build ## Measure beside floors; docs/BENCHMARKS.md explains the figures
	$(GO) run ./test/bench

generate: ## Write the reference pages and the JSON Schema
	$(GO) run ./internal/docgen

generate-check: generate ## Fail if generated files are not up to date
	@git diff --exit-code -- docs/reference configs || { echo "run make generate and commit the result"; exit 1; }
	@test -z "$$(git status --porcelain -- docs/reference configs)" || { git status --short -- docs/reference configs; exit 1; }

services: ## Install what the end-to-end tests can use (Debian; needs root)
	test/services/install.sh

tools: $(TOOLS)/golangci-lint $(TOOLS)/govulncheck

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)

$(TOOLS)/govulncheck:
	GOBIN=$(TOOLS) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK)

clean: ## Remove what was built
	rm -rf bin
