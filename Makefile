# The front door. `make` alone lists what can be typed.

SHELL := /bin/bash
CARGO ?= cargo
SECONDS ?= 60
KILLS ?= 200
HOURS ?= 1
PROFILE ?= dev
# Most tests wait for something most of the time.
TEST_THREADS ?= $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))
ROUNDS ?= 5
OPT_LEVEL ?= 3
TORTURE = $(CARGO) test --locked --profile $(PROFILE) --features failpoints --test torture -- $(if $(SEED),--seed $(SEED))
MODEL := --manifest-path tests/model/Cargo.toml --target-dir target/model
SCALE := --manifest-path benches/scale/Cargo.toml --target-dir target/scale

.DEFAULT_GOAL := help
.PHONY: help setup demo test model torture chain soak citus upgrade evidence conformance containers instances manifests bench scale settings metrics codes screens screenshots browser pages duckdb fuzz lint fmt

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Check for Rust, a C compiler and PostgreSQL, and install PostgreSQL where that is possible
	@scripts/setup

demo: setup ## See it work: real queue protocol, real PostgreSQL, faults, a crash, and a report
	@[ -x target/debug/turnstile ] || echo "Building Turnstile: the first time takes some minutes."
	@$(CARGO) run --quiet --locked -- demo

test: setup ## Run every test, doctests included: TEST_THREADS (three for each core) at once
	@scripts/setup pgbouncer promtool systemd_analyze
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked

model: ## Visit every state of the protocol's model, and let every mutant break it (docs/PROTOCOL.md)
	$(CARGO) test --release --locked $(MODEL) -- --nocapture

torture: setup ## Kill KILLS (200) processes at every edge of their path, from SEED, and check every message
	$(TORTURE) kills --kills $(KILLS) $(if $(MESSAGES),--messages $(MESSAGES))

chain: setup ## Kill KILLS (60) loaders and relays from end to end over EVENTS (4000) logins, crash the server, from SEED
	$(TORTURE) chain $(if $(filter command line environment,$(origin KILLS)),--kills $(KILLS)) $(if $(EVENTS),--events $(EVENTS)) $(if $(CRASHES),--crashes $(CRASHES))

soak: setup ## Let loaders run among faults for HOURS (1), and see that they do not grow
	$(TORTURE) soak --hours $(HOURS)

citus: setup ## Test distributed tables on the cluster of TURNSTILE_CITUS; TURNSTILE_CITUS_CRASH kills its servers (docs/GUARANTEES.md)
	@test -n "$$TURNSTILE_CITUS" || { echo "TURNSTILE_CITUS: name the coordinator and the workers by their URLs, with commas between them"; exit 1; }
	$(CARGO) test --locked --test main -- citus:: --ignored --test-threads=1
	$(TORTURE) cluster --cuts
	$(TORTURE) cluster --cuts --twins
	test -z "$$TURNSTILE_CITUS_CRASH" || $(TORTURE) cluster --crashes 24

upgrade: setup ## Run the last release and this one side by side
	TURNSTILE_LAST_RELEASE=$$(scripts/last-release) && export TURNSTILE_LAST_RELEASE && \
		$(CARGO) test --locked --test main -- upgrade:: --include-ignored

evidence: ## Print what the fault tests of the last `make test` survived, and how each is repeated
	@scripts/evidence

conformance: setup ## Compare the local SQS server with other SQS servers, through boto3
	bash tests/conformance/run

containers: ## Build the image, start docker-compose.yml, load through a kill, audit, stop all (needs Docker); OPT_LEVEL (3)
	@OPT_LEVEL=$(OPT_LEVEL) scripts/containers

instances: ## Load with many containers through a rolling update, a scale to zero and a node that vanishes (needs Docker)
	@OPT_LEVEL=$(OPT_LEVEL) scripts/containers instances

manifests: ## Render and check deploy/kubernetes, deploy/ecs and deploy/systemd, and see that each check can fail (needs kubectl)
	@scripts/setup systemd_analyze
	@tests/manifests/run

bench: setup ## Measure the loader next to its floors and peers: PARTS (all), ROUNDS (5); see docs/PERFORMANCE.md
	$(CARGO) bench --locked --bench core
	$(CARGO) bench --locked --bench pipeline -- $(PARTS) --rounds $(ROUNDS)

scale: ## Simulate up to 256 loaders, write docs/SCALE.md anew, and hold the model against what was measured
	$(CARGO) run --release --locked $(SCALE) -- docs
	$(CARGO) test --release --locked $(SCALE)

settings: ## Write docs/SETTINGS.md anew from the program
	TURNSTILE_TEST_WRITE_SETTINGS=1 $(CARGO) test --locked --test main -- help::the_page_of_the_settings

metrics: ## Write docs/METRICS.md anew from the program
	TURNSTILE_TEST_WRITE_METRICS=1 $(CARGO) test --locked --test main -- metrics::the_page_of_the_figures

codes: ## Write the codes of dead letters in docs/OPERATIONS.md anew from the program
	TURNSTILE_TEST_WRITE_CODES=1 $(CARGO) test --locked --test main -- readme::the_night_page_says

screens: ## Write the screens of `turnstile top` anew, tests/fixtures/top
	TURNSTILE_TEST_WRITE_SCREENS=1 $(CARGO) test --locked --test main -- top::screens::

screenshots: setup ## Take the pictures of docs/CONSOLE.md anew, with a real Chromium: docs/console
	@scripts/setup chromium
	tests/browser/run screenshots.py docs/console

browser: setup ## Do on the console what operators do, in a real Chromium, and see that it complains of nothing
	@scripts/setup chromium
	tests/browser/run flows.py

pages: setup ## See how long each page of the console takes over LETTERS (1000000) dead letters, as released
	@PROFILE=release tests/browser/run pages.py $(or $(LETTERS),1000000)

duckdb: setup ## Let DuckDB read an archive and reckon its digests, which must be those of SQL
	tests/duckdb/run

fuzz: ## Fuzz every target for SECONDS (60) each, JOBS (1) side by side; needs a C++ compiler
	@scripts/fuzz $(SECONDS)

lint: ## Check format, lints, documentation, and (with cargo-deny) licences and sources
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path tests/model/Cargo.toml
	$(CARGO) fmt --check --manifest-path benches/scale/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --package turnstile --no-default-features -- -D warnings
	$(CARGO) clippy --locked --all-targets --features failpoints -- -D warnings
	$(CARGO) clippy --locked --all-targets $(MODEL) -- -D warnings
	$(CARGO) clippy --locked --all-targets $(SCALE) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check bans licenses sources; \
	else \
		echo "cargo-deny is not installed: bans, licences and sources were not checked (cargo install cargo-deny)"; \
	fi

fmt: ## Format the code
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path tests/model/Cargo.toml
	$(CARGO) fmt --manifest-path benches/scale/Cargo.toml
