"""`audiocls demo`: the page in a browser, and that nothing of it leaves this machine."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect
from saved_model import saved

import audiocls
from audiocls.cli import main
from audiocls.data.synth import write_dataset
from audiocls.inference.demo import COLUMNS, LONGEST_HEARD_S, Overview, _timelines, cut_out
from audiocls.inference.own_pages import LARGEST_UPLOAD
from audiocls.inference.prediction import Segment

RATE = 12_000  # of the preset mfcc
# A label is text, whatever it looks like.
HOSTILE = "<img src=x onerror='document.title=1'>"

# The command, with a note of every name that is looked up and every address that is called.
WATCHED = """
import sys
notes = open(sys.argv.pop(1), "w", buffering=1)
def note(event, args):
    if event in ("socket.connect", "socket.sendto"):
        notes.write(f"{args[1]}\\n")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        notes.write(f"{args[0]}\\n")
sys.addaudithook(note)
from audiocls.__main__ import main
main()
"""


@dataclass
class Demo:
    """A page that is served, and its folder: model, recording, temporary files, notes."""

    url: str
    folder: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    write_dataset(folder / "data", clips_per_class=6, n_classes=3)
    store = audiocls.extract(folder / "data", "mfcc", folder / "store")
    classes = [c.replace("synthetic-flute", HOSTILE) for c in store.classes]
    model = saved(folder / "model", store, classes=classes)
    # A recording with several segments, whatever the model calls them.
    rng = np.random.default_rng(1)
    t = np.arange(2 * RATE) / RATE
    loud = [rng.normal(0, 0.2, len(t)), 0.5 * np.sin(2 * np.pi * 440 * t), np.zeros(len(t))]
    sound = np.concatenate([*loud, 0.2 * np.sign(loud[1]), *loud])
    soundfile.write(folder / "several.wav", sound, RATE, subtype="PCM_16")
    (folder / "broken.wav").write_bytes(b"RIFF and nothing else")
    (folder / "tmp").mkdir()
    (folder / "empty").mkdir()
    command = [sys.executable, "-c", WATCHED, str(folder / "notes"), "demo", str(model)]
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-browser", "--json"],
        cwd=folder / "empty",
        env=os.environ | {"TMPDIR": str(folder / "tmp"), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    yield Demo(json.loads(line)["url"], folder, process)

    # Ctrl-C ends it, and what was dropped on it is gone.
    assert any((folder / "tmp").iterdir())
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert list((folder / "tmp").iterdir()) == []
    assert list((folder / "empty").iterdir()) == []
    called = (folder / "notes").read_text().splitlines()
    assert [c for c in called if "127.0.0.1" not in c] == []


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """The page, open; at the end it must be without an error and have asked this machine only."""
    context = browser.new_context(permissions=["microphone"])
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(demo.url)
    yield page
    # What a browser cannot play gradio's player writes there, too.
    assert [text for text in said if text != "Waveform load error: MediaError"] == []
    elsewhere = [u for u in asked if not u.startswith((demo.url, "data:", f"blob:{demo.url}"))]
    assert elsewhere == []
    # A connection that is made beforehand is no request.
    for link in page.locator("link[rel*=preconnect], link[rel*=dns-prefetch]").all():
        assert link.get_attribute("href") is None
    context.close()


def drop(page: Page, file: Path) -> None:
    page.locator("input[type=file]").set_input_files(file)


def shown(page: Page) -> list[tuple[str, float]]:
    """The labels and per cents of the answer."""
    rows = page.locator("[data-testid$='-confidence-set']")
    expect(rows.first).to_be_visible(timeout=30_000)
    found = []
    for row in rows.all():
        label, per_cent = row.inner_text().rsplit(maxsplit=1)
        found.append((label.strip(), float(per_cent.strip("%"))))
    return found


def test_a_recording_that_is_dropped_is_heard_as_by_predict(page: Page, demo: Demo) -> None:
    file = demo.folder / "several.wav"
    classifier = audiocls.Classifier.load(demo.folder / "model")
    (expected,) = classifier.recordings([file])
    assert not isinstance(expected, Exception)
    segments = expected.segments()
    assert len(segments) >= 3
    assert HOSTILE in {s.label for s in segments}

    drop(page, file)
    found = shown(page)
    assert [label for label, _ in found] == [label for label, _ in expected.top(3)]
    for (_, per_cent), (_, p) in zip(found, expected.top(3), strict=True):
        assert per_cent == pytest.approx(100 * p, abs=0.51)

    rows = page.locator("#pictures tbody tr").all_inner_texts()
    assert [re.sub(r"\s+", " ", row.strip("▶ ")) for row in rows] == [
        f"{s.start_s:.2f} – {s.end_s:.2f} s {s.label} {s.probability:.3f}" for s in segments
    ]
    # The timeline's bars lie where the segments are; the pictures are there.
    boxes = page.locator(".audiocls-timeline button").evaluate_all(
        """all => all.map(b => [b, b.parentElement].map(e => e.getBoundingClientRect()))
            .map(([b, p]) => [(b.left - p.left) / p.width, (b.right - p.left) / p.width])"""
    )
    wanted = [[s.start_s / expected.duration_s, s.end_s / expected.duration_s] for s in segments]
    np.testing.assert_allclose(boxes, wanted, atol=0.005)
    picture = page.locator("#pictures img")
    assert 100 < picture.evaluate("i => i.naturalWidth") <= COLUMNS
    assert page.locator("#pictures svg polygon").bounding_box() is not None
    assert page.title() == f"audiocls: {demo.folder / 'model'}"


def test_a_segment_is_heard(page: Page, demo: Demo) -> None:
    drop(page, demo.folder / "several.wav")
    bars = page.locator(".audiocls-timeline button")
    expect(bars.first).to_be_visible(timeout=30_000)
    for button in (page.locator("#pictures tbody button").nth(1), bars.first):
        lasts = float(button.get_attribute("data-end") or 0) - float(
            button.get_attribute("data-start") or 0
        )
        with page.expect_response(re.compile(r"/file=.*\.wav")) as heard:
            button.click()
        samples, rate = soundfile.read(io.BytesIO(heard.value.body()))
        assert len(samples) / rate == pytest.approx(lasts, abs=0.001)


def test_a_recording_is_made(page: Page) -> None:
    page.get_by_label("Record audio").click()
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Stop", exact=True).click()
    assert len(shown(page)) == 3


def test_a_file_that_is_no_recording_is_told(page: Page, demo: Demo) -> None:
    drop(page, demo.folder / "broken.wav")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text(re.compile(r"^This cannot be used: is RIFF, but not WAVE"))
    # The next one is heard.
    page.get_by_role("button", name="Clear").click()
    drop(page, demo.folder / "several.wav")
    assert len(shown(page)) == 3
    expect(alert).to_have_count(0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Host", "elsewhere.example"), ("Origin", "http://elsewhere.example"), ("Origin", "null")],
)
def test_pages_of_others_are_refused(demo: Demo, name: str, value: str) -> None:
    """A name of theirs that leads here, and a form of theirs that sends here."""
    port = urlsplit(demo.url).port or 0
    for headers, status in (({}, 200), ({name: value}, 403)):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/", headers=headers)
        assert connection.getresponse().status == status
        connection.close()


def ask(demo: Demo, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(demo.url).port or 0, timeout=30)
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize("event", [0, 1])
@pytest.mark.parametrize(
    "name",
    ["secret.wav", "/dev/zero", "http://127.0.0.1:9/x.wav", "tmp/../secret.wav", "tmp/link.wav"],
)
def test_only_what_was_uploaded_is_read(demo: Demo, tmp_path: Path, event: int, name: str) -> None:
    """Both events of the page, `hear` and `play`, with any file, link or URL for a name."""
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.zeros(RATE), RATE)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/link.wav").symlink_to(secret)
    path = name if "://" in name else str(tmp_path / name)
    before = sorted((demo.folder / "tmp").rglob("*"))
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for body in (
        {"data": [file], "fn_index": event, "session_hash": "x"},
        {"data": [None], "event_data": {"deep": [file]}, "fn_index": event, "session_hash": "x"},
    ):
        text = json.dumps(body | {"trigger_id": 1}).encode()
        for route in ("queue/join", "queue/join/", f"run/{event}", f"call/{event}", "api/hear"):
            status, _ = ask(demo, "POST", f"/gradio_api/{route}", text, "application/json")
            assert status == 403, route
    for route in (f"file={path}", f"proxy={path}", f"file/{path}"):
        assert ask(demo, "GET", f"/gradio_api/{route}")[0] == 403
    assert sorted((demo.folder / "tmp").rglob("*")) == before


@pytest.mark.parametrize("body", [b"", b"no json", b"[" * 100_000, b" " * (1 << 21)])
def test_a_call_that_is_none_is_refused(demo: Demo, body: bytes) -> None:
    assert ask(demo, "POST", "/gradio_api/queue/join", body, "application/json")[0] == 403


def test_uploads_have_a_limit(demo: Demo) -> None:
    """What is larger is refused while it arrives."""
    assert json.loads(ask(demo, "GET", "/config")[1])["max_file_size"] == LARGEST_UPLOAD


def test_it_listens_on_this_machine_alone(demo: Demo) -> None:
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in (own | {"127.0.0.2"}) - {"127.0.0.1"}:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, urlsplit(demo.url).port or 0), timeout=5)


@pytest.mark.parametrize("duration_s", [0.01, 1.0, 30.0])
def test_an_overview_has_every_peak_where_it_is(tmp_path: Path, duration_s: float) -> None:
    rate = 44_100
    n = round(duration_s * rate)
    sound = np.zeros(n)
    at = [n // 5, n // 2, n - 1]
    sound[at] = [0.5, -0.7, 0.9]
    soundfile.write(tmp_path / "peaks.wav", sound, rate, subtype="FLOAT")
    overview = Overview.of(str(tmp_path / "peaks.wav"), n / rate)
    columns = len(overview.low)
    assert columns == min(COLUMNS, n)
    assert np.flatnonzero(overview.high).tolist() == [at[0] * columns // n, columns - 1]
    assert np.flatnonzero(overview.low).tolist() == [at[1] * columns // n]
    assert (overview.low.min(), overview.high.max()) == pytest.approx((-0.7, 0.9))
    assert np.isfinite(overview.bands).all()
    if duration_s == 30.0:
        loudest = overview.bands.max(axis=1).argsort()[-6:] / len(overview.bands)
        assert all(min(abs(loudest - i / n)) < 0.01 for i in at)


def test_what_is_cut_out_is_that_part(tmp_path: Path) -> None:
    rate = 44_100
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 70 * rate).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", sound, rate, subtype="FLOAT")
    found_rate, found = cut_out(str(tmp_path / "long.wav"), 7.25, 9.5)
    assert (found_rate, found.dtype) == (rate, np.int16)
    wanted = sound[round(7.25 * rate) : round(9.5 * rate)]
    np.testing.assert_allclose(found / 32767, wanted, atol=1e-4)
    assert len(cut_out(str(tmp_path / "long.wav"), 1.0, 70.0)[1]) == LONGEST_HEARD_S * rate


def call(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["demo", *args, "--no-browser"])
    return done.exit_code, done.stderr


def test_bad_input_is_one_line(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    model = str(demo.folder / "model")
    port = str(urlsplit(demo.url).port)
    for args, code, message in (
        ([model, "--port", port], 1, f"port {port} is in use"),
        ([model, "--hop-s", "-1"], 2, "--hop-s -1"),
        ([str(demo.folder / "store")], 1, "holds no model"),
    ):
        found, said = call(*args)
        assert (found, message in said, said.count("\n")) == (code, True, 1), said
    assert call(model, "--port", "99999")[0] == 2
    # As where the extra is not installed.
    monkeypatch.delitem(sys.modules, "audiocls.inference.demo", raising=False)
    monkeypatch.delattr("audiocls.inference.demo", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert call(model) == (2, "audiocls demo needs gradio: pip install 'audiocls[demo]'\n")


def test_the_model_in_the_box_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(path: str) -> None:
        asked.append(path)
        raise OSError("far enough")

    monkeypatch.setattr(audiocls.Classifier, "load", load)
    assert call() == (1, "audiocls demo: far enough\n")
    assert asked == ["orchestra"]


def test_segments_that_overlap_have_lines_of_their_own() -> None:
    spans = [(0.0, 2.0, "a"), (1.0, 3.0, "b"), (2.0, 4.0, "a"), (3.5, 4.0, "b")]
    segments = [Segment(start, end, label, 0.9) for start, end, label in spans]
    page = _timelines(segments, 4.0, {"a": "#aaa", "b": "#bbb"})
    lines = page.split("<div class='audiocls-timeline'>")[1:]
    found = [re.findall(r"title='(.)'", line) for line in lines]
    assert found == [["a", "a"], ["b", "b"]]
    one = _timelines(segments[::2], 4.0, {"a": "#aaa"})
    assert one.count("audiocls-timeline") == 1
