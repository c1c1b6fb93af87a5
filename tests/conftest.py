"""What every test may use."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import Browser, sync_playwright

# A shell that runs the tests in the background ignores Ctrl-C, and so would every child of theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same draws every time: one commit, one verdict.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parent.parent

# The files that take longest come first, or a worker of xdist would be left alone with one.
LONG = (
    "test_clean_install.py", "test_cluster.py", "test_decode.py", "test_interrupts.py",
    "test_parity_presets.py", "test_docs.py", "test_training.py", "test_resume.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def philharmonia() -> Path:
    """The real recordings, 14 folders of MP3 files: never committed, so they may be absent."""
    default = ROOT.parent / "shared" / "data" / "philharmonia"
    folder = Path(os.environ.get("AUDIOCLS_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; set AUDIOCLS_TEST_DATA to a copy of them")
    return folder


@pytest.fixture
def no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without network.onnx, which takes longer than a small training: for tests of what
    stands before. Each architecture's graph has tests of its own, as has the end of a whole run.
    """
    monkeypatch.setattr("audiocls.classifier.graph.write_graph", lambda folder: None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, whose microphone is one that beeps."""
    found = subprocess.run(
        [ROOT / ".ci/chromium"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert found.returncode == 0, f"{found.stderr} (`make browser` gets one)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.stdout.strip(),
            args=[
                "--no-sandbox",
                "--mute-audio",
                "--autoplay-policy=no-user-gesture-required",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
            ],
        )
        yield browser
        browser.close()
