# `make demo` and `make test` work in a fresh clone; everything else is `.ci/run`.
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
TIDEWAITER := $(TARGET)/release/tidewaiter
DEMO := $(TARGET)/demo

.PHONY: help demo test build deps

help:
	@echo "make demo   build, learn a quiet network, then replay an attack on it"
	@echo "make test   run every test"
	@echo "make build  build $(TIDEWAITER)"

demo: build
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@echo "== tidewaiter learn: what this network usually talks to"
	$(TIDEWAITER) learn --data-dir $(DEMO)/data testdata/scenarios/baseline.pcap
	@echo "== tidewaiter replay: an attack on its Docker API"
	$(TIDEWAITER) replay --data-dir $(DEMO)/data testdata/scenarios/full-chain.pcap --format text

test: deps
	$(CARGO) test --locked --workspace

build: deps
	$(CARGO) build --locked --release -p tidewaiter

deps:
	@sh .ci/deps
