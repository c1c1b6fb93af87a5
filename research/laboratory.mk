# The targets of the laboratory; the Makefile includes them.

.PHONY: study ablation sources orchestra players ears

study: build ## every architecture of the study x mel, mfcc, on features/ -> research/notes/results.md; hours, resumable
	for recipe in study modern; do $(BIN)/python research/study/study.py --recipe $$recipe || exit 1; done

ablation: build ## what each part of the training recipe does, on features/ -> research/notes/results.md; hours, resumable
	$(BIN)/python research/study/ablation.py
	$(BIN)/python research/study/ablation.py --model resnet --clips-per-recording 1

sources: .venv/installed ## notes from soundfonts and unknown sounds -> build/sources (research/notes/sources.md)
	$(BIN)/python research/orchestra/render_sources.py build/sources

# From the Philharmonia's recordings, a folder per class, the sources, and other players (research/notes/sources.md);
# goes on where it was stopped. What each source left out gives: research/notes/players.md.
PHILHARMONIA ?= philharmonia
PLAYERS ?= players
SAMPLES := $(BIN)/audiocls extract --feature samples --set sample_rate=16000
AUGMENTED := $(BIN)/audiocls train --model compact --feature mel-16k --recipe orchestra --source family --resume

orchestra: build sources ## the model in the box, two trainings -> python/audiocls/classifier/orchestra (docs/evidence/orchestra.md)
	$(BIN)/python research/orchestra/orchestra.py $(PHILHARMONIA) build/sources build/orchestra.csv
	$(SAMPLES) build/orchestra.csv --out features/orchestra
	$(AUGMENTED) --features features/orchestra --out runs/orchestra
	$(MAKE) players
	$(BIN)/python research/orchestra/pack_model.py runs/players python/audiocls/classifier/orchestra
	$(BIN)/python research/orchestra/elsewhere.py build/sources runs/orchestra

players: build ## the second training, of runs/orchestra with other players -> runs/players; and each source left out
	$(BIN)/python research/orchestra/orchestra.py $(PHILHARMONIA) build/sources build/players.csv --players $(PLAYERS)
	$(SAMPLES) build/players.csv --out features/players
	$(BIN)/python research/orchestra/leave_out.py $(PHILHARMONIA) build/sources $(PLAYERS) features/players \
		runs/orchestra runs/left-out/answers
	$(BIN)/python research/orchestra/adapt.py features/players runs/orchestra runs/adapted
	$(BIN)/python research/orchestra/calibrate.py runs/adapted runs/players runs/left-out/answers/*.npz
	$(BIN)/python research/orchestra/table.py research/results \
		box=$$(ls runs/left-out/answers/*.npz | paste -sd,)

ears: build sources ## the start that knows many kinds of sound -> python/audiocls/classifier/ears (docs/evidence/few.md)
	PYTHONPATH=research/orchestra $(BIN)/python research/few/ears.py $(PHILHARMONIA) build/sources $(PLAYERS) build/ears.csv
	$(SAMPLES) build/ears.csv --out features/ears
	$(AUGMENTED) --features features/ears --source-temperature 0.5 --epochs 36 --out runs/ears
	$(BIN)/python research/orchestra/pack_model.py runs/ears python/audiocls/classifier/ears
