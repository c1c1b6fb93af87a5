# Every target sets up what it needs, on a machine with only Python >= 3.11 and a Rust toolchain.

PYTHON ?= python3
UV := 0.13.9
BIN := .venv/bin
# One interpreter for every Rust build, so that cargo and maturin share their work.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
# Or every process compiles thousands of modules anew, if it may not write what it compiled.
export UV_COMPILE_BYTECODE := 1
INSTALL = $(BIN)/uv pip install --quiet --require-hashes --python
# What is measured, trained and shown is as fast as a release; tests and lint need it sooner.
PROFILE := release
test lint: PROFILE := quick

.PHONY: help build demo browser test lint fuzz audit bench bench-rust parity reference docs lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 18

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)

.venv/installed: $(BIN)/uv requirements.lock
	$(INSTALL) $(BIN)/python -r requirements.lock
	touch $@

build: .venv/installed ## the package in .venv; cargo knows best what is out of date
	$(BIN)/maturin develop --profile $(PROFILE) --locked --quiet --uv

demo: build ## synthetic data set -> features -> two models -> report page -> a prediction
	rm -rf build/demo
	$(BIN)/audiocls synth build/demo/data
	$(BIN)/audiocls extract build/demo/data --feature mel --out build/demo/features/mel
	$(BIN)/audiocls extract build/demo/data --feature mfcc --out build/demo/features/mfcc
	$(BIN)/audiocls compare --features build/demo/features/mel,build/demo/features/mfcc \
		--models compact,crnn --epochs 20 --group-by '([^/]+)/[^/]+?_([A-G]s?[0-9])_' --out build/demo/compare
	$(BIN)/audiocls predict build/demo/compare/cells/mel-compact-0 "$$(ls build/demo/data/synthetic-bell/*.wav | head -1)"

browser: .venv/installed ## a Chromium, in which the report is tested
	.ci/chromium --install

test: build browser ## build, then all tests
	cargo test --profile quick --locked --quiet
	$(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

lint: build ## rustfmt, clippy, ruff, mypy, stubtest, import-linter, style of the prose
	cargo fmt --check
	cargo clippy --profile quick --locked --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest audiocls._native --mypy-config-file pyproject.toml --ignore-disjoint-bases --allowlist .ci/stubtest-allow
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/docs/test_style.py

FUZZ_S ?= 60

fuzz: ## what Rust reads, under libFuzzer, FUZZ_S=60 a target; SANITIZER=address
	fuzz/run $(FUZZ_S) $(SANITIZER)

# Both ask the network for lists of known faults; --strict, or pip-audit would pass without them.
audit: $(BIN)/uv ## licences and known faults of the dependencies
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes $(patsubst %,-r %,$(wildcard requirements*.lock))

BENCH ?=

bench: build ## speed against the peers -> benches/results.json; BENCH="--only files,training"
	$(INSTALL) $(BIN)/python -r requirements-bench.lock -c requirements.lock
	$(BIN)/python benches/report.py $(BENCH)

bench-rust: ## micro-benchmarks of the Rust stages, and their instruction counts
	cargo bench --locked
	cargo build --release --locked -p rust_features --example count
	for preset in mel mel-16k mfcc fbank; do \
		valgrind --quiet --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/count $$preset avx2; done

parity: build ## equality with the reference libraries -> docs/evidence/parity.md
	$(BIN)/python tests/parity_table.py

# In an environment of its own: it needs nothing of the program.
MANUAL := build/manual

reference: build ## the generated pages and pictures of docs/, from the program and benches/results.json
	$(BIN)/python docs/generate.py

docs: $(BIN)/uv ## the documents as pages with a search -> build/manual/site
	$(BIN)/uv venv --quiet --allow-existing $(MANUAL)/venv
	$(INSTALL) $(MANUAL)/venv -r requirements-docs.lock -c requirements.lock
	rm -rf $(MANUAL)/source $(MANUAL)/site && mkdir -p $(MANUAL)/source
	cp -R README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md docs $(MANUAL)/source
	$(MANUAL)/venv/bin/zensical build --strict --config-file mkdocs.yml
	@echo "$(MANUAL)/site/index.html; with a search: python3 -m http.server --directory $(MANUAL)/site"

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
BASE := pyproject.toml --all-extras --group test --group lint

# The other locks say only what they add to the first: they are installed with it as a constraint.
lock: $(BIN)/uv ## renew the pinned environment from pyproject.toml
	$(COMPILE) $(BASE) -o requirements.lock
	$(COMPILE) $(BASE) --group bench -c requirements.lock | grep -vxFf requirements.lock > requirements-bench.lock
	$(COMPILE) --group docs -c requirements.lock | grep -vxFf requirements.lock > requirements-docs.lock

# study, ablation, sources, orchestra, players.
include research/laboratory.mk

clean:
	rm -rf build target .venv
