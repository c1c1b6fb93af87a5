# The targets of the laboratory; the Makefile includes them.

.PHONY: study ablation sources orchestra players

study: build ## every architecture of the study x mel, mfcc, on features/ -> research/notes/results.md; hours, resumable
	for recipe in study modern; do $(BIN)/python research/study/study.py --recipe $$recipe || exit 1; done

ablation: build ## what each part of the training recipe does, on features/ -> research/notes/results.md; hours, resumable
	$(BIN)/python research/study/ablation.py
	$(BIN)/python research/study/ablation.py --model resnet --clips-per-recording 1

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
