"""The child of _fallback.py: decodes by soundfile, or else by PyAV, what it is asked to.

It runs as a script, imports nothing of the package, and ends when its parent does.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

try:
    import resource
except ImportError:  # Windows, where the parent's clock is the only limit
    resource = None  # type: ignore[assignment]

# As in fallback.py.
REQUEST = struct.Struct("<??QdQ")
MESSAGE = struct.Struct("<cI")
SECONDS_A_MILLION = 2.0
# Values that are decoded at once, of all channels.
BLOCK = 1 << 18
# What FFmpeg may do for us. Playlists and the like, which name other files and URLs, are not here.
FORMATS = "aac,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,amr,avi,mpegts"
CODECS = (
    "aac,aac_latm,mp3float,mp3,opus,vorbis,flac,alac,amrnb,amrwb,wmav1,wmav2,ac3,eac3,"
    "pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,pcm_f32le,pcm_u8"
)


def main() -> None:
    # Nobody else writes where the messages go: C libraries like to.
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def send(kind: bytes, payload: bytes = b"") -> None:
        messages.write(MESSAGE.pack(kind, len(payload)) + payload)
        messages.flush()

    try:
        import numpy as np
    except Exception as error:
        return send(b"e", f"numpy cannot be imported: {error}".encode())
    decoders = find_decoders()
    np.ones((2, 2)).mean(axis=1)  # what is loaded at first use comes before the limit, too
    send(b"r")
    while len(head := sys.stdin.buffer.read(REQUEST.size)) == REQUEST.size:
        is_path, header_only, memory, seconds, n = REQUEST.unpack(head)
        limit_memory(memory)
        limit_time(end := time.process_time() + seconds)
        payload = sys.stdin.buffer.read(n)
        try:
            with open_regular(payload) if is_path else io.BytesIO(payload) as source:
                try_each(decoders, source, send, header_only, end)
        except MemoryError:
            send(b"m")
        except Exception as error:
            send(b"e", str(error).encode("utf-8", "replace")[:1000])


def find_decoders() -> dict[str, Callable[..., None]]:
    """The decoders that are installed, by their names."""
    found: dict[str, Callable[..., None]] = {}
    with contextlib.suppress(Exception):
        import soundfile  # noqa: F401

        found["soundfile"] = decode_by_soundfile
    with contextlib.suppress(Exception):
        import av  # noqa: F401

        found["PyAV"] = decode_by_av
    return found


def try_each(
    decoders: dict[str, Callable[..., None]],
    source: BinaryIO,
    send: Callable[..., None],
    header_only: bool,
    end: float,
) -> None:
    """Lets one decoder after another try, until one knows the format."""
    reasons = []
    for name, decode in decoders.items():
        begun = False

        def told(kind: bytes, payload: bytes = b"") -> None:
            nonlocal begun
            begun = True
            send(kind, payload)

        source.seek(0)
        try:
            return decode(source, told, header_only, end)
        except MemoryError:
            raise
        except Exception as error:
            # Not soundfile's whole text, which has the descriptor for a name.
            text = getattr(error, "error_string", None) or getattr(error, "strerror", None)
            reasons.append(f"{name}: {text or error}")
            if begun:
                break
    raise OSError("; ".join(reasons) or "neither soundfile nor av can be imported")


def decode_by_av(
    source: BinaryIO, send: Callable[..., None], header_only: bool, end: float
) -> None:
    """Sends what FFmpeg makes of the first stream of sound, as `decode_by_soundfile`."""
    import av
    import numpy as np

    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS}
    with av.open(source, "r", options=options, metadata_errors="ignore") as container:
        if not container.streams.audio:
            raise OSError("there is no sound in it")
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        same_rate = None
        for frame in container.decode(stream):
            if same_rate is None:
                # Of HE-AAC only what is decoded tells the rate.
                rate, channels = frame.sample_rate, frame.layout.nb_channels
                seconds = float((stream.duration or 0) * (stream.time_base or 0))
                n_claimed = max(0, round(seconds * rate))
                send(b"i", struct.pack("<IIQ", rate, channels, n_claimed))
                if header_only:
                    break
                same_rate = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
            for part in same_rate.resample(frame):
                block = part.to_ndarray()  # [channels, n]
                send(b"b", block.mean(axis=0, dtype=np.float32).tobytes())
                end += SECONDS_A_MILLION * block.shape[1] / 1e6
                limit_time(end)
        if same_rate is None and not header_only:
            raise OSError("holds no samples")
    send(b"d")


def decode_by_soundfile(
    source: BinaryIO, send: Callable[..., None], header_only: bool, end: float
) -> None:
    """Sends what the header says, then block after block of mono samples."""
    import numpy as np
    import soundfile

    # A file by its descriptor: what was checked is what is read.
    handle: Any = source if isinstance(source, io.BytesIO) else source.fileno()
    with soundfile.SoundFile(handle, **({"closefd": False} if handle is not source else {})) as f:
        send(b"i", struct.pack("<IIQ", f.samplerate, f.channels, max(f.frames, 0)))
        buffer = np.empty((max(1, BLOCK // f.channels), f.channels), np.float32)
        # Until nothing more comes, whatever number of frames the header claims.
        while not header_only and len(block := f.read(out=buffer)):
            send(b"b", block.mean(axis=1, dtype=np.float32).tobytes())
            end += SECONDS_A_MILLION * len(block) / 1e6
            limit_time(end)
    send(b"d")


def open_regular(name: bytes) -> BinaryIO:
    """A regular file and nothing else: a pipe must not block."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(os.fsdecode(name), flags), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise OSError("is no longer a regular file")
    return file


def limit_memory(n_bytes: int) -> None:
    """Allows so much more address space than is in use, where the system tells and honours it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + n_bytes, resource.RLIM_INFINITY))


def limit_time(end: float) -> None:
    """Ends this process once it has used so many seconds of processor time.

    Its parent may be gone by then.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(end) + 1, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
