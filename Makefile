# One build profile (release) everywhere: what `make demo` compiled, `make test` uses again.
.DEFAULT_GOAL := help
.PHONY: setup build bake demo serve test fresh shared soak inputs lint bench help

TOUCHLINE := target/release/touchline

# The end-to-end tests that 'make test' runs a second time, with each server on a private PostgreSQL and a private Redis.
SHARED := another_origin api_keys bad_input browser durable hard_shell issuers limits live_settings main_job marks \
	model_admin observability people retries sessions tenancy tus_client webhooks
# Those that 'make shared' runs so as well: minutes of rendering, waiting and crowds, in which the database is a small part;
# and contract, whose random texts have U+0000 now and then, which PostgreSQL cannot keep: such a call is answered 500 still.
# The others start no server (command_line, exactness, inputs, picture), or have both anyway (backends, redis_away).
SHARED_LONG := contract devices every_kind fairness fuzz kills latency listeners load
ON_SHARED := TOUCHLINE_TEST_BACKENDS=shared cargo test --release --locked --workspace

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what cargo does not bring: Debian packages, ONNX Runtime, model packages
	@scripts/setup

build: setup ## Build the program into target/release/touchline
	cargo build --release --locked --workspace

bake: build
	@$(TOUCHLINE) models bake >/dev/null

demo: bake ## Upload a match, frame and upscale a walker, detect, download: see demo/out/
	@target/release/demo

serve: bake ## Run the server on http://127.0.0.1:8080 with its data in data/
	@$(TOUCHLINE) serve

test: ## Check format and lints, then run every test, those of servers also on PostgreSQL and Redis
	@scripts/setup tests
	shellcheck scripts/* .ci/run
	scripts/test-setup
	cargo fmt --all --check
	@$(MAKE) --no-print-directory bake
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo test --release --locked --workspace
	$(ON_SHARED) $(SHARED:%=--test %)

fresh: ## Run demo and test in a minimal Debian 12 made for it (needs root, about an hour): see scripts/fresh --help
	@scripts/fresh

shared: bake ## Run all end-to-end tests of servers on a private PostgreSQL and a private Redis
	@scripts/setup tests
	$(ON_SHARED) $(SHARED:%=--test %) $(SHARED_LONG:%=--test %)

soak: bake ## Kill, fill, starve and crowd it at full size: see docs/reliability.md (some: ONLY="load fuzz")
	@target/release/soak $(ONLY)

inputs: bake ## Check the inputs of docs/inputs.md and write that page anew
	TOUCHLINE_WRITE_INPUTS=1 TOUCHLINE_EVERY_KIND=1 cargo test --release --locked --workspace --test inputs

lint: ## Check scripts, format, lints and, where cargo-deny is installed, licences and sources
	@scripts/setup tests
	shellcheck scripts/* .ci/run
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --offline check licenses bans sources; \
	else \
		echo "lint: cargo-deny is not installed, so licences and sources were not checked ('cargo install cargo-deny')"; \
	fi

bench: bake ## Measure this machine: busy, scaling, memory, smart, overlay, annotated, clip, detection, detections (some: ONLY="smart pairs=3")
	@target/release/bench $(ONLY)
