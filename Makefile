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

.PHONY: help build demo browser test lint fuzz audit bench bench-rust study ablation parity sources orchestra players reference docs lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile | expand -t 18

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
	$(BIN)/python -m pytest -n logical --dist loadfile

lint: build ## rustfmt, clippy, ruff, mypy, stubtest, import-linter
	cargo fmt --check
	cargo clippy --profile quick --locked --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest audiocls._native --mypy-config-file pyproject.toml --ignore-disjoint-bases --allowlist .ci/stubtest-allow
	$(BIN)/lint-imports

FUZZ_S ?= 60

fuzz: ## what Rust reads, under libFuzzer, FUZZ_S=60 a target; SANITIZER=address
	fuzz/run $(FUZZ_S) $(SANITIZER)

# Both ask the network for lists of known faults; --strict, or pip-audit would pass without them.
audit: $(BIN)/uv ## licences and known faults of the dependencies
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes $(patsubst %,-r %,$(wildcard requirements*.lock))

bench: build ## speed against the peers -> docs/evidence/speed.md
	$(INSTALL) $(BIN)/python -r requirements-bench.lock -c requirements.lock
	$(BIN)/python benches/report.py

bench-rust: ## micro-benchmarks of the Rust stages, and their instruction counts
	cargo bench --locked
	cargo build --release --locked -p rust_features --example count
	for preset in mel mel-16k mfcc fbank; do \
		valgrind --quiet --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/count $$preset avx2; done

study: build ## every architecture of the study x mel, mfcc, on features/ -> research/notes/results.md; hours, resumable
	for recipe in study modern; do $(BIN)/python research/study/study.py --recipe $$recipe || exit 1; done

ablation: build ## what each part of the training recipe does, on features/ -> research/notes/results.md; hours, resumable
	$(BIN)/python research/study/ablation.py
	$(BIN)/python research/study/ablation.py --model resnet --clips-per-recording 1

parity: build ## equality with the reference libraries -> docs/evidence/parity.md
	$(BIN)/python tests/parity_table.py

sources: .venv/installed ## notes from soundfonts and unknown sounds -> build/sources (research/notes/sources.md)
	$(BIN)/python research/orchestra/render_sources.py build/sources

# From the Philharmonia's recordings, a folder per class, and the sources; goes on where it was stopped.
PHILHARMONIA ?= philharmonia

orchestra: build sources ## the model in the box -> python/audiocls/classifier/orchestra (docs/evidence/orchestra.md)
	$(BIN)/python research/orchestra/orchestra.py $(PHILHARMONIA) build/sources build/orchestra.csv
	$(BIN)/audiocls extract build/orchestra.csv --feature samples --set sample_rate=16000 --out features/orchestra
	$(BIN)/audiocls train --model compact --features features/orchestra --feature mel-16k --recipe orchestra \
		--source family --out runs/orchestra --resume
	$(BIN)/python research/orchestra/pack_model.py runs/orchestra python/audiocls/classifier/orchestra
	$(BIN)/python research/orchestra/elsewhere.py build/sources runs/orchestra

# The model in the box trained further with other players, and asked about each source left out: research/notes/players.md.
PLAYERS ?= players

players: build ## a second training of runs/orchestra, with other players -> runs/players (research/notes/players.md)
	$(BIN)/python research/orchestra/orchestra.py $(PHILHARMONIA) build/sources build/players.csv --players $(PLAYERS)
	$(BIN)/audiocls extract build/players.csv --feature samples --set sample_rate=16000 --out features/players
	$(BIN)/python research/orchestra/leave_out.py $(PHILHARMONIA) build/sources $(PLAYERS) features/players \
		runs/orchestra runs/left-out/answers
	$(BIN)/python research/orchestra/adapt.py features/players runs/orchestra runs/adapted
	$(BIN)/python research/orchestra/calibrate.py runs/adapted runs/players runs/left-out/answers/*.npz
	$(BIN)/python research/orchestra/table.py research/results box=runs/left-out/answers-start.npz \
		players=$$(ls runs/left-out/answers/*.npz | paste -sd,)

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

clean:
	rm -rf build target .venv
