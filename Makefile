# Every target says what it does behind `##`; `make help` prints that, and tests/meta/tidy.rs insists.

CARGO ?= cargo
export CARGO

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build demo check test unit most e2e sim bench lint fmt fmt-check clippy doc deny sanitize fuzz fuzz-smoke soak deps
.PHONY: deb rpm install test-packages test-service schemathesis corpus-check

help: ## List the targets
	@echo "make demo and make test are all you need; the others are their parts."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the release binary, target/release/gossipper
	$(CARGO) build --locked --release

demo: ## Build, then the daemon with its status page, calls over loopback and a summary; 20 s
	@scripts/demo.sh

# Without what needs other programs, waits, or takes long: that is the rest of make test.
check: fmt-check ## At every save: format, lints of the program, unit tests, simulations, tidy; a minute
	$(CARGO) clippy --locked --lib --bins -- -D warnings
	GOSSIPPER_SIM_SEEDS=$${GOSSIPPER_SIM_SEEDS:-6} PROPTEST_CASES=$${PROPTEST_CASES:-16} $(CARGO) test --locked \
		--lib --test sim -- --skip a_seed_gives_one_transcript --skip deadlines_of_days_survive
	$(CARGO) test --locked --test meta tidy::

test: deps fmt-check ## All checks that a change must pass (what .ci/run runs)
	@scripts/test.sh

unit: most e2e ## Unit, property, golden-file, simulation and end-to-end tests

# All crates of tests but one.
most: ## All of these but the end-to-end tests
	$(CARGO) test --locked --workspace --lib --bins --test '[!e]*' --test 'e[!2]*'
	$(CARGO) test --locked --workspace --doc
	$(CARGO) test --locked --package gossipper-uring --all-features

# A test that waits for its turn (tests/e2e/harness/lock.rs) holds a thread.
e2e: ## End-to-end tests; they mostly wait, so many run at once
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-24} $(CARGO) test --locked --workspace --test e2e

sim: ## Simulated calls, optimised; make sim SEED=n repeats a failure
	$(if $(SEED),GOSSIPPER_SIM_SEED=$(SEED) )$(CARGO) test --locked --release --test sim calls:: -- --nocapture

bench: ## Measure this machine and keep the raw results in benches/results/
	@scripts/bench.sh

lint: fmt-check clippy doc deny ## Formatting, clippy, documentation, dependencies

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check: ## Check the formatting
	$(CARGO) fmt --all --check

clippy: ## Lints; a warning is an error
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --package gossipper-uring --all-targets --all-features -- -D warnings

doc: ## Build the documentation, private items too; a warning is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

deny: ## Licences, duplicates, bans and advisories of dependencies (deny.toml)
	@scripts/deny.sh

sanitize: ## Tests of uring/ under AddressSanitizer (nightly toolchain)
	@scripts/sanitize.sh

schemathesis: ## Compare the API with its OpenAPI document, request by request (PyPI)
	@scripts/schemathesis.sh

# The folder may stand alone: make corpus-check DIR. It is a goal then, and needs no making.
DIR ?= $(filter-out corpus-check,$(MAKECMDGOALS))
corpus-check: ## Where SIPp and ours differ on a folder of scenarios: make corpus-check DIR=...
	@test -n "$(DIR)" || { echo "say where: make corpus-check DIR=..." >&2; exit 2; }
	$(if $(GOSSIPPER_BINARY),,$(CARGO) build --locked --release --bin gossipper)
	@scripts/corpus-check.py --gossipper $(or $(GOSSIPPER_BINARY),target/release/gossipper) "$(DIR)"

fuzz: ## All fuzz targets for HOURS (1) together, JOBS (1) at once, with a report (nightly toolchain)
	@scripts/fuzz.sh campaign

fuzz-smoke: ## Each fuzz target for FUZZ_SECONDS (60; nightly toolchain)
	@scripts/fuzz-smoke.sh

soak: ## Churn everything for MINUTES (10) and see that nothing is left behind
	@scripts/soak.sh $(MINUTES)

deps: ## Install the Debian packages that tests need, if any is missing
	@scripts/deps.sh

deb: ## Build the Debian package in target/packages (GOSSIPPER_BINARY: from this program)
	@scripts/deps.sh packages
	@scripts/package.sh deb

rpm: ## Build the RPM package in target/packages (GOSSIPPER_BINARY: from this program)
	@scripts/deps.sh packages
	@scripts/package.sh rpm

install: ## Put what packages contain below DESTDIR, from GOSSIPPER_BINARY or a release build
	@test -n "$(DESTDIR)" || { echo "say where: make install DESTDIR=DIR" >&2; exit 2; }
	$(if $(GOSSIPPER_BINARY),,$(CARGO) build --locked --release --bin gossipper)
	@scripts/install.sh $(or $(GOSSIPPER_BINARY),target/release/gossipper) "$(DESTDIR)"

test-packages: ## Install, upgrade, remove and purge both packages (root, minutes, a Debian mirror)
	@scripts/test-packages.sh

test-service: ## Try the packaged services under a real systemd (root, minutes, a Debian mirror)
	@scripts/test-service.sh
