# One build profile (release) everywhere: what `make demo` compiled, `make test` uses again.
.DEFAULT_GOAL := help
.PHONY: setup build bake demo serve test fresh shared soak fuzz inputs lint bench help

TOUCHLINE := target/release/touchline
INPUTS := inputs::every_file_comes_out_as_the_table_says

# 'make test' runs the tests of the API a second time, with each server on a private PostgreSQL and a private Redis. Not
# again: 'backends', which has both anyway. A name after --skip that is out of date runs more tests, never fewer.
ON_SHARED := TOUCHLINE_TEST_BACKENDS=shared cargo test --release --locked --workspace
# Most tests wait, for timers or for a program that they started, so twice as many as there are cores run side by side.
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))

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
	$(ON_SHARED) --test api -- --skip backends::

fresh: ## Run demo and test in a minimal Debian 12 made for it (needs root, about an hour): see scripts/fresh --help
	@scripts/fresh

shared: bake ## Run all end-to-end tests of servers on a private PostgreSQL and a private Redis
	@scripts/setup tests
	$(ON_SHARED) --test api --test serial -- --skip backends:: --skip redis_away::

soak: bake ## Kill, fill, starve and crowd it at full size, then fuzz: see docs/reliability.md (some: ONLY="load fuzz")
	@target/release/soak $(ONLY)
	@$(if $(ONLY),,scripts/fuzz)

fuzz: ## Try the inspection of uploads with inputs that libFuzzer makes (an hour; some: FOR=600 seconds)
	@scripts/setup
	@scripts/fuzz $(FOR)

inputs: bake ## Check the inputs of docs/inputs.md and write that page anew
	@cargo test --release --locked --workspace --test media_jobs -- --list $(INPUTS) | grep ': test$$' >/dev/null || \
		{ echo "inputs: there is no test $(INPUTS)" >&2; exit 1; }
	TOUCHLINE_WRITE_INPUTS=1 TOUCHLINE_EVERY_KIND=1 cargo test --release --locked --workspace --test media_jobs $(INPUTS)

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
