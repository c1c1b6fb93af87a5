# Every target sets up what it needs, on a machine with only Python >= 3.11 and a Rust toolchain.

PYTHON ?= python3
UV := 0.13.9
BIN := .venv/bin
# One interpreter for every Rust build, so that cargo and maturin share their work.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

.PHONY: help demo test lint fuzz audit bench bench-rust study ablation parity sources orchestra docs lock clean

help:
	@echo "make demo        synthetic data set -> features -> two models -> report page"
	@echo "make test        build, then all tests"
	@echo "make lint        rustfmt, clippy, ruff, mypy, stubtest, import-linter"
	@echo "make fuzz        what Rust reads, under libFuzzer, FUZZ_S=60 a target"
	@echo "make audit       licences and known faults of the dependencies"
	@echo "make bench       speed against the peers -> docs/performance.md"
	@echo "make bench-rust  micro-benchmarks of the Rust stages, and their instruction counts"
	@echo "make study       every architecture of the study x mel, mfcc -> research/notes/results.md"
	@echo "make ablation    what each part of the training recipe does -> research/notes/results.md"
	@echo "make parity      equality with the reference libraries -> docs/parity.md"
	@echo "make sources     notes from soundfonts and unknown sounds -> build/sources (docs/sources.md)"
	@echo "make orchestra   the model in the box -> python/audiocls/classifier/orchestra (docs/orchestra.md)"
	@echo "make docs        the documents as pages with a search -> build/manual/site"
	@echo "make lock        renew the pinned environment from pyproject.toml"

# --- environment -------------------------------------------------------------------------------

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)

.venv/installed: $(BIN)/uv requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	touch $@

.venv/installed-bench: .venv/installed requirements-bench.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-bench.lock
	touch $@

# cargo knows best what is out of date, so this always asks it.
.PHONY: build
build: .venv/installed
	$(BIN)/maturin develop --release --locked --quiet --uv

# --- what one does -----------------------------------------------------------------------------

DEMO := build/demo

demo: build
	rm -rf $(DEMO)
	$(BIN)/audiocls synth $(DEMO)/data
	$(BIN)/audiocls extract $(DEMO)/data --feature mel --out $(DEMO)/features/mel
	$(BIN)/audiocls extract $(DEMO)/data --feature mfcc --out $(DEMO)/features/mfcc
	$(BIN)/audiocls compare --features $(DEMO)/features/mel,$(DEMO)/features/mfcc \
		--models lstm,resnet --epochs 8 --batch-size 16 --lr 0.003 --group-by '([^/]+)/[^/]+?_([A-G]s?[0-9])_' --out $(DEMO)/compare

# The report is tested in a browser.
.PHONY: browser
browser: .venv/installed
	.ci/chromium --install

test: build browser
	cargo test --release --locked --quiet
	$(BIN)/python -m pytest

lint: build
	cargo fmt --check
	cargo clippy --locked --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest audiocls._native --mypy-config-file pyproject.toml --ignore-disjoint-bases \
		--allowlist .ci/stubtest-allow
	$(BIN)/lint-imports

# Inputs that lead further are kept in build/fuzz/corpus, what fails in build/fuzz. SANITIZER=address
# adds the address sanitizer.
FUZZ_S ?= 60
SANITIZER ?=

fuzz:
	fuzz/build $(SANITIZER)
	for target in decode resample spec features; do \
		mkdir -p build/fuzz/corpus/$$target && FUZZ_TARGET=$$target build/fuzz/target \
		-max_total_time=$(FUZZ_S) -timeout=20 -print_final_stats=1 -artifact_prefix=build/fuzz/$$target- \
		build/fuzz/corpus/$$target fuzz/seeds/$$target || exit 1; done

# Both ask the network for lists of known faults; --strict, or pip-audit would pass without them.
audit: $(BIN)/uv
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check
	for lock in requirements requirements-bench requirements-docs; do \
		$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes -r $$lock.lock || exit 1; done

bench: build .venv/installed-bench
	$(BIN)/python benches/report.py

# On the stores features/mel and features/mfcc of the Philharmonia's recordings, see
# research/notes/results.md; hours on a CPU, resumable in the middle of a run.
study: build
	$(BIN)/python research/study/study.py --recipe study
	$(BIN)/python research/study/study.py --recipe modern

# On a store that `audiocls extract … --feature mel-16k` made; hours, and resumable.
ablation: build
	$(BIN)/python research/study/ablation.py
	$(BIN)/python research/study/ablation.py --model resnet --clips-per-recording 1

parity: build
	$(BIN)/python tests/parity_table.py

sources: .venv/installed
	$(BIN)/python research/orchestra/render_sources.py build/sources

# From the Philharmonia's recordings, a folder per class, and the sources; goes on where it was stopped.
PHILHARMONIA ?= philharmonia

orchestra: build sources
	$(BIN)/python research/orchestra/orchestra.py $(PHILHARMONIA) build/sources build/orchestra.csv
	$(BIN)/audiocls extract build/orchestra.csv --feature samples --set sample_rate=16000 \
		--out features/orchestra
	$(BIN)/audiocls train --model compact --features features/orchestra --feature mel-16k \
		--source family --group-by group --remove-level --mixstyle 0.4 --noise-p 0.6 \
		--noise-snr-db -5 40 --phrase-p 0.5 --mixup 0 --time-mask 0 --freq-mask 0 --epochs 80 \
		--patience 0 --out runs/orchestra --resume
	$(BIN)/python research/orchestra/pack_model.py runs/orchestra python/audiocls/classifier/orchestra
	$(BIN)/python research/orchestra/elsewhere.py build/sources runs/orchestra

# In an environment of its own: it needs nothing of the program.
DOCS := build/manual

$(DOCS)/installed: $(BIN)/uv requirements-docs.lock
	$(BIN)/uv venv --quiet --clear $(DOCS)/venv
	$(BIN)/uv pip install --quiet --python $(DOCS)/venv --require-hashes -r requirements-docs.lock
	touch $@

docs: $(DOCS)/installed
	rm -rf $(DOCS)/source $(DOCS)/site && mkdir -p $(DOCS)/source
	cp -R README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md docs $(DOCS)/source
	$(DOCS)/venv/bin/zensical build --strict --config-file mkdocs.yml
	@echo "$(DOCS)/site/index.html; with a search: python3 -m http.server --directory $(DOCS)/site"

# Times by stage, preset and instruction set; then instructions, which are equal from run to run.
bench-rust:
	cargo bench --locked
	cargo build --release --locked -p rust_features --example count
	for preset in mel mel-16k mfcc fbank; do \
		valgrind --quiet --tool=callgrind --callgrind-out-file=/dev/null \
			target/release/examples/count $$preset avx2; done

lock: $(BIN)/uv
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --all-extras --group test --group lint \
		-o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --all-extras --group test --group lint \
		--group bench -c requirements.lock -o requirements-bench.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --group docs -o requirements-docs.lock

clean:
	rm -rf build target .venv
