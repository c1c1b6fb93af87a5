"""A page for this machine alone: drop a recording or make one, see and hear the answer.

The page is gradio's (extra `demo`). It accepts requests of its own pages only, and asks nobody
anything. gradio keeps uploads in the folder GRADIO_TEMP_DIR, which it reads on import.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import socket
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocls.classifier.answers import UNKNOWN
from audiocls.engine.audio import read_blocks, read_excerpt
from audiocls.engine.features import Extractor
from audiocls.engine.spec import FeatureSpec
from audiocls.errors import AudioclsError, explain_failure
from audiocls.inference.own_pages import HOST, LARGEST_UPLOAD, OwnPages
from audiocls.inference.predict import Classifier
from audiocls.inference.prediction import Limits, Prediction, Segment, Setting

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub warns without ffmpeg; the page needs none
    import gradio as gr
    from gradio.utils import get_upload_folder

# Pictures have so many columns at most.
COLUMNS = 900
# Of a longer segment the beginning is heard.
LONGEST_HEARD_S = 60.0
# Decibels below the loudest cell that the spectrogram still shows.
_RANGE_DB = 80.0
# Black, violet, red, orange, pale yellow; even steps.
_COLOURS = np.array(((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)))
_BLOCK = 1 << 18  # samples

_CSS = """
.audiocls-rows > * { display: block; width: 100%; margin: 0 0 4px; }
.audiocls-timeline { position: relative; height: 32px; }
#pictures .audiocls-timeline button { position: absolute; top: 0; height: 100%; padding: 0;
  overflow: hidden; white-space: nowrap; color: #000; font-size: 13px; border-radius: 0;
  border-right: 1px solid #fff; }
.audiocls-axis { position: relative; height: 20px; font-size: 12px; white-space: nowrap; }
.audiocls-axis span { position: absolute; transform: translateX(-50%); }
.audiocls-axis span:first-child { transform: none; }
.audiocls-axis span:last-child { transform: translateX(-100%); }
.audiocls-list { max-height: 320px; overflow: auto; }
#pictures .audiocls-list :is(td, th) { padding: 2px 8px; }
#pictures .audiocls-list button { padding: 2px 8px; font-size: 13px; white-space: nowrap; }
"""

# A button of the timeline or of the list says which seconds it stands for.
_ON_LOAD = """
element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-start]");
    if (button) trigger("select", {start_s: +button.dataset.start, end_s: +button.dataset.end});
});
"""


@dataclass(frozen=True)
class Overview:
    """A recording of any length in a few columns of equal duration."""

    low: NDArray[np.float32]  # the least sample of each column, [n]
    high: NDArray[np.float32]  # the greatest
    bands: NDArray[np.float32]  # the loudest frame of each column in dB, [m, n_mels]

    @classmethod
    def of(cls, path: str, duration_s: float) -> Overview:
        """The overview of a recording of a known duration, in one pass. Raises as `audio.load`."""
        # Without `top_db`, which is known at the end only: frames would be held until then.
        spec = FeatureSpec.preset("mel", top_db=None)
        extractor = Extractor(spec, threads=1)
        frames = extractor.stream()
        n_samples = max(1, round(duration_s * spec.sample_rate))
        n_frames = max(1, extractor.n_frames(n_samples))
        low = np.zeros(min(COLUMNS, n_samples), np.float32)
        high = np.zeros_like(low)
        bands = np.full((min(COLUMNS, n_frames), extractor.n_features), -np.inf, np.float32)
        at, row = 0, 0

        def take(rows: NDArray[Any]) -> None:
            nonlocal row
            np.maximum.at(bands, _columns(row, len(rows), n_frames, len(bands)), rows)
            row += len(rows)

        for block in read_blocks(path, spec.sample_rate, _BLOCK):
            columns = _columns(at, len(block), n_samples, len(low))
            np.minimum.at(low, columns, block)
            np.maximum.at(high, columns, block)
            at += len(block)
            take(frames.push(block))
        take(frames.finish())
        return cls(low, high, bands)


def _columns(start: int, n: int, total: int, n_columns: int) -> NDArray[np.int64]:
    """The columns of n things from `start` on, of `total` things."""
    return np.minimum(np.arange(start, start + n) * n_columns // total, n_columns - 1)


def cut_out(path: str, start_s: float, end_s: float) -> tuple[int, NDArray[np.int16]]:
    """Cuts out a segment, its first `LONGEST_HEARD_S` at most: rate in Hz, and samples."""
    rate = FeatureSpec.preset("mel").sample_rate
    first = round(start_s * rate)
    last = min(round(end_s * rate), first + round(LONGEST_HEARD_S * rate))
    found = read_excerpt(path, rate, first, last)
    # As int16: gradio would raise floats to full scale.
    return rate, (np.clip(found, -1, 1) * 32767).astype(np.int16)


def build_page(
    classifier: Classifier, name: str, hop_s: float | None = None, threshold: Setting = None
) -> gr.Blocks:
    """Builds the page of a model.

    Args:
        classifier: the model.
        name: its name, for the title.
        hop_s: as for `Classifier.recordings`; None: the model's own.
        threshold: as for `Classifier.limits`; None: the model's own.
    """
    limits = classifier.limits(threshold)
    colours = {label: _colour(i) for i, label in enumerate(classifier.classes_)}

    def hear(path: str | None) -> tuple[dict[str, float] | None, str, None]:
        if path is None:
            return None, "", None
        (found,) = classifier.recordings([path], hop_s)
        try:
            if isinstance(found, Exception):
                raise found
            overview = Overview.of(path, found.duration_s)
        except (AudioclsError, OSError) as error:
            why = html.escape(explain_failure(path, error))
            return None, f"<p role='alert'>This cannot be used: {why}</p>", None
        return dict(found.top(3, limits)), _shown(found, limits, overview, colours), None

    def play(path: str, segment: gr.EventData) -> tuple[int, NDArray[np.int16]]:
        try:
            return cut_out(path, float(segment.start_s), float(segment.end_s))
        except (AudioclsError, OSError) as error:
            raise gr.Error(
                html.escape(explain_failure(path, error)), print_exception=False
            ) from None

    title = f"audiocls: {name}"
    page = gr.Blocks(title=title, analytics_enabled=False)
    with page:
        classes = html.escape(", ".join(classifier.classes_))
        gr.HTML(f"<h1>{html.escape(title)}</h1><p>It knows: {classes}.</p>")
        recording = gr.Audio(
            sources=["upload", "microphone"],
            type="filepath",
            editable=False,
            buttons=[],
            label="A recording of any length: drop a file, or record",
        )
        answer = gr.Label(num_top_classes=3, label="What is heard")
        pictures = gr.HTML(js_on_load=_ON_LOAD, elem_id="pictures")
        heard = gr.Audio(interactive=False, autoplay=True, buttons=[], label="The chosen segment")
        gr.on(
            [recording.change], hear, recording, [answer, pictures, heard], api_visibility="private"
        )
        pictures.select(play, recording, heard, api_visibility="private")
    return page


def serve(page: gr.Blocks, listening: socket.socket, began: Callable[[str], None]) -> None:
    """Shows a page on a socket of this machine until it is interrupted.

    Args:
        page: the page.
        listening: the socket.
        began: called with the address.
    """
    import fastapi  # this and uvicorn are gradio's own
    import uvicorn

    port = listening.getsockname()[1]
    app = gr.mount_gradio_app(
        fastapi.FastAPI(openapi_url=None),
        page,
        path="/",
        server_name=HOST,
        server_port=port,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=LARGEST_UPLOAD,
        css=_CSS,
    )
    config = uvicorn.Config(
        OwnPages(app, get_upload_folder()),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    page.has_launched = True  # so that gradio checks paths, too
    began(f"http://{HOST}:{port}/")
    uvicorn.Server(config).run(sockets=[listening])


def open_socket(port: int) -> socket.socket:
    """Opens a socket of this machine alone; port 0: any that is free.

    Raises:
        OSError: the port is in use.
    """
    with contextlib.suppress(OSError):
        return socket.create_server((HOST, port))
    raise OSError(f"port {port} is in use or not allowed: give another, or 0 for any free one")


def _shown(found: Prediction, limits: Limits, overview: Overview, colours: dict[str, str]) -> str:
    """Waveform, spectrogram, timeline and the list of segments, as HTML over one time axis."""
    segments = found.segments(limits)
    rows = "".join(
        f"<tr><td><button {_data(s)} aria-label='hear {s.start_s:.2f} to {s.end_s:.2f} s'>"
        f"▶ {s.start_s:.2f} – {s.end_s:.2f} s</button></td>"
        f"<td>{html.escape(s.label)}</td><td>{s.probability:.3f}</td></tr>"
        for s in segments
    )
    ticks = "".join(
        f"<span style='left:{25 * i}%'>{found.duration_s * i / 4:.2f} s</span>" for i in range(5)
    )
    return (
        f"<div class='audiocls-rows'>{_waveform(overview)}{_spectrogram(overview)}"
        f"{_timelines(segments, found.duration_s, colours)}"
        f"<div class='audiocls-axis'>{ticks}</div></div>"
        "<div class='audiocls-list'><table><thead><tr><th>hear</th><th>label</th>"
        f"<th>probability</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _timelines(segments: Sequence[Segment], duration_s: float, colours: dict[str, str]) -> str:
    """Lines of segments, as few as have room for those that overlap."""
    lanes: list[list[Segment]] = [[]]
    for segment in segments:
        free = (lane for lane in lanes if not lane or lane[-1].end_s <= segment.start_s + 1e-6)
        if (lane := next(free, None)) is None:
            lanes.append(lane := [])
        lane.append(segment)
    bars = ("".join(_bar(s, duration_s, colours) for s in lane) for lane in lanes)
    return "".join(f"<div class='audiocls-timeline'>{lane}</div>" for lane in bars)


def _bar(segment: Segment, duration_s: float, colours: dict[str, str]) -> str:
    left = 100 * segment.start_s / duration_s
    width = 100 * (segment.end_s - segment.start_s) / duration_s
    colour = "#bbb" if segment.label == UNKNOWN else colours[segment.label]
    label = html.escape(segment.label)
    return (
        f"<button {_data(segment)} title='{label}' tabindex='-1' "
        f"style='left:{left:.4f}%;width:{width:.4f}%;background:{colour}'>{label}</button>"
    )


def _data(segment: Segment) -> str:
    return f"data-start='{segment.start_s:.6f}' data-end='{segment.end_s:.6f}'"


def _colour(i: int) -> str:
    """The golden angle apart, so that any number of them differ."""
    return f"hsl({i * 137.508 % 360:.0f} 65% 70%)"


def _waveform(overview: Overview) -> str:
    n = len(overview.low)
    peak = max(float(np.abs([overview.low, overview.high]).max()), 1e-9)
    # Half a unit around the line, so that silence is a line and not nothing.
    tops = [f"{i},{49.5 - 49 * y / peak:.1f}" for i, y in enumerate(overview.high)]
    ends = [f"{i},{50.5 - 49 * y / peak:.1f}" for i, y in enumerate(overview.low)]
    outline = " ".join(tops + ends[::-1])
    return (
        f"<svg viewBox='0 0 {max(n - 1, 1)} 100' preserveAspectRatio='none' height='100' "
        f"role='img' aria-label='waveform'><polygon fill='#2f6f9f' points='{outline}'/></svg>"
    )


def _spectrogram(overview: Overview) -> str:
    from PIL import Image

    level = 1 + (overview.bands - overview.bands.max()) / _RANGE_DB
    at = np.clip(np.nan_to_num(level, neginf=0.0), 0, 1) * (len(_COLOURS) - 1)
    steps = np.arange(len(_COLOURS))
    rgb = np.stack([np.interp(at, steps, _COLOURS[:, c]) for c in range(3)], axis=-1)
    pixels = np.ascontiguousarray(rgb.astype(np.uint8).transpose(1, 0, 2)[::-1])
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return (
        "<img alt='mel spectrogram, 0 to 22 kHz' style='height:140px' "
        f"src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
    )
