"""What every setting means, said once more: slow, in float64, straight from the definitions.

Nothing here is shared with the engine. The definitions are those of the papers and of the reference
libraries (test_parity_oracle.py proves that the two are the same); the engine is then held to this
file wherever no library can express a setting.

Sources: S. B. Davis, P. Mermelstein, "Comparison of parametric representations …" (1980): mel
cepstra; M. Slaney, "Auditory Toolbox" (1998): the Slaney scale and norm; S. Young et al., "The HTK
Book" (2006), §5: HTK scale, lifter, deltas; D. Povey et al., "The Kaldi Speech Recognition
Toolkit" (2011): the Povey window, raw energy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def features(spec: Any, y: Any) -> NDArray[Any]:
    """Features of one clip.

    Args:
        spec: anything with the fields of `audiocls.FeatureSpec`.
        y: samples [n_samples].

    Returns:
        float64 [n_frames, n_features] (complex128 for kind "stft").
    """
    y = np.asarray(y, np.float64)
    raw = frames(spec, y)
    spectra = spectrum(spec, raw)
    if spec.kind == "stft":
        return spectra
    values = np.abs(spectra) ** spec.power
    if spec.scale_by_n_fft:
        values = values / spec.n_fft
    power = values
    if spec.kind in ("mel", "mfcc"):
        values = values @ filters(spec).T
    values = scaled_log(spec, values) * spec.scale + spec.offset
    if spec.kind == "mfcc":
        values = cepstra(spec, values, power, raw)
    return normalized(spec, with_deltas(spec, values))


def n_frames(spec: Any, n_samples: int) -> int:
    """How many frames a clip of `n_samples` gives."""
    if centred(spec):
        # Every frame reads n_fft samples of the padded signal.
        count = 1 + (n_samples + 2 * (spec.n_fft // 2) - spec.n_fft) // spec.hop_length
    elif spec.padding == "symmetric":
        count = (n_samples + spec.hop_length // 2) // spec.hop_length
    elif n_samples < spec.frame_length:
        count = 1 if spec.padding == "tail" else 0
    elif spec.padding == "tail":
        count = 1 + int(np.ceil((n_samples - spec.frame_length) / spec.hop_length))
    else:
        count = 1 + (n_samples - spec.frame_length) // spec.hop_length
    return max(0, count - int(spec.drop_last_frame))


# --- frames ------------------------------------------------------------------------------------


def frames(spec: Any, y: Array) -> Array:
    """[n_frames, frame_length]: cut and freed from DC, before the frame's own pre-emphasis."""
    cut = np.zeros((n_frames(spec, len(y)), spec.frame_length))
    if spec.preemphasis and spec.preemphasis_on == "signal":
        y = np.append(y[0], y[1:] - spec.preemphasis * y[:-1])
    if centred(spec):
        half = spec.n_fft // 2
        y = np.pad(y, half, mode="constant" if spec.padding == "zero" else "reflect")
        y = y[margin(spec) :]
    if spec.padding == "symmetric":
        before = spec.frame_length // 2 - spec.hop_length // 2
        y = np.pad(y, (before, spec.frame_length), mode="symmetric")
    for t in range(len(cut)):
        piece = y[t * spec.hop_length :][: spec.frame_length]
        cut[t, : len(piece)] = piece
        if spec.remove_dc:
            cut[t] -= np.mean(cut[t])
    return cut


def centred(spec: Any) -> bool:
    """Whether frame t is centred on sample t · hop (else it begins there)."""
    return spec.padding in ("zero", "reflect")


def margin(spec: Any) -> int:
    """Where in the transform's input a frame begins: a centred one stands in its middle."""
    return (spec.n_fft - spec.frame_length) // 2 if centred(spec) else 0


def window(name: str, length: int, periodic: bool) -> Array:
    """A window [length]; symmetric: the last point equals the first."""
    if length == 1:
        return np.ones(1)
    period = length if periodic else length - 1
    x = 2 * np.pi * np.arange(length) / period
    hann = 0.5 - 0.5 * np.cos(x)
    return {
        "hann": hann,
        "hamming": 0.54 - 0.46 * np.cos(x),
        "blackman": 0.42 - 0.5 * np.cos(x) + 0.08 * np.cos(2 * x),
        "blackman_harris": 0.35875
        - 0.48829 * np.cos(x)
        + 0.14128 * np.cos(2 * x)
        - 0.01168 * np.cos(3 * x),
        "bartlett": 1 - np.abs(2 * np.arange(length) / period - 1),
        "povey": hann**0.85,
        "rectangular": np.ones(length),
    }[name]


def spectrum(spec: Any, raw: Array) -> NDArray[np.complex128]:
    """[n_frames, n_fft // 2 + 1] of the frames as `frames` gives them."""
    cut = raw
    if spec.preemphasis and spec.preemphasis_on == "frame":
        before = np.concatenate([cut[:, :1], cut[:, :-1]], axis=1)
        cut = cut - spec.preemphasis * before
    cut = cut * window(spec.window, spec.frame_length, spec.window_periodic)
    padded = np.zeros((len(cut), spec.n_fft))
    padded[:, margin(spec) : margin(spec) + spec.frame_length] = cut
    return np.fft.rfft(padded)


# --- filters -----------------------------------------------------------------------------------


def hz_to_mel(scale: str, hz: Any) -> Array:
    """Slaney: 200/3 Hz a mel below 1 kHz, 27 a factor of 6.4 above. HTK: 2595 lg(1 + f/700)."""
    hz = np.asarray(hz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    linear = hz / (200 / 3)
    return np.where(hz < 1000, linear, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))


def mel_to_hz(scale: str, mel: Any) -> Array:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * (200 / 3), 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


def filters(spec: Any) -> Array:
    """[n_mels, n_bins]: n_mels triangles over n_mels + 2 corners equally spaced in mel."""
    top_hz = spec.sample_rate / 2 if spec.fmax_hz is None else spec.fmax_hz
    low, high = hz_to_mel(spec.mel_scale, [spec.fmin_hz, top_hz])
    corner_mel = np.linspace(low, high, spec.n_mels + 2)
    corner_hz = mel_to_hz(spec.mel_scale, corner_mel)
    n_bins = spec.n_fft // 2 + 1
    bin_hz = np.arange(n_bins) * spec.sample_rate / spec.n_fft
    if spec.mel_shape == "hz":
        at, corners = bin_hz, corner_hz
    elif spec.mel_shape == "mel":
        at, corners = hz_to_mel(spec.mel_scale, bin_hz), corner_mel
    else:
        at = np.arange(n_bins, dtype=np.float64)
        corners = np.floor((spec.n_fft + 1) * corner_hz / spec.sample_rate)
    bank = np.zeros((spec.n_mels, n_bins))
    for m in range(spec.n_mels):
        left, centre, right = corners[m : m + 3]
        rise, fall = (left <= at) & (at < centre), (centre <= at) & (at < right)
        bank[m, rise] = (at[rise] - left) / (centre - left)
        bank[m, fall] = (right - at[fall]) / (right - centre)
        if spec.mel_norm == "slaney":
            bank[m] *= 2 / (corner_hz[m + 2] - corner_hz[m])
    if spec.mel_shape == "mel":
        bank[:, spec.n_fft // 2 :] = 0  # Kaldi's spectrum ends below half the sample rate
    return bank


# --- logarithm, cepstra, and what follows ------------------------------------------------------


def floored(spec: Any, values: Array) -> Array:
    """`values` as the logarithm may see them."""
    if spec.log_floor_rule == "max":
        return np.maximum(values, spec.log_floor)
    return np.where(values == 0, spec.log_floor, values)


def scaled_log(spec: Any, values: Array) -> Array:
    """The logarithm, nothing of it more than top_db decibels below the clip's maximum."""
    if spec.log == "none":
        return values
    db = (10 if spec.power == 2 else 20) * np.log10(floored(spec, values))
    if spec.top_db is not None and db.size:
        db = np.maximum(db, db.max() - spec.top_db)
    decades = db / (10 if spec.power == 2 else 20)
    return {"db": db, "log10": decades, "natural": decades * np.log(10)}[spec.log]


def cepstra(spec: Any, log_mel: Array, power: Array, raw: Array) -> Array:
    """[n_frames, n_mfcc]: orthonormal DCT-II, lifter 1 + L/2 sin(π(k + first)/L), energy
    for c0.
    """
    n, k = np.arange(spec.n_mels), np.arange(spec.n_mfcc)[:, None]
    basis = np.sqrt(2 / spec.n_mels) * np.cos(np.pi * k * (2 * n + 1) / (2 * spec.n_mels))
    basis[0] = np.sqrt(1 / spec.n_mels)
    out = log_mel @ basis.T
    if spec.lifter:
        number = spec.lifter_first + np.arange(spec.n_mfcc)
        out = out * (1 + spec.lifter / 2 * np.sin(np.pi * number / spec.lifter))
    if spec.energy != "none":
        energy = power.sum(axis=1) if spec.energy == "spectrum" else (raw**2).sum(axis=1)
        nats = np.log(floored(spec, energy))
        # Whatever `power` is, an energy is a power.
        out[:, 0] = nats * {"natural": 1, "log10": 1 / np.log(10), "db": 10 / np.log(10)}[spec.log]
    return out


def with_deltas(spec: Any, values: Array) -> Array:
    """`values`, their slopes and the slopes of those side by side.

    The slope is that of the least-squares line through delta_width frames (The HTK Book, 5.16);
    the first and the last frame stand for those beyond the ends. With delta_fit polynomial it is
    the derivative of a polynomial, and near the ends that of the nearest whole window.
    """
    columns = [values]
    if spec.deltas and spec.delta_fit == "polynomial":
        width, reach = spec.delta_width, spec.delta_width // 2
        for order in range(1, spec.deltas + 1):
            fits = [
                np.polynomial.polynomial.polyfit(
                    np.arange(-reach, reach + 1), values[t : t + width], order
                )[order]
                for t in range(len(values) - width + 1)
            ]
            at = np.clip(np.arange(len(values)) - reach, 0, len(fits) - 1)
            columns.append(order * np.array(fits)[at])
        return np.concatenate(columns, axis=1)
    half = spec.delta_width // 2
    steps = np.arange(-half, half + 1)
    for _ in range(spec.deltas):
        if not len(values):
            columns.append(values)
            continue
        padded = np.pad(columns[-1], ((half, half), (0, 0)), mode="edge")
        slope = [steps @ padded[t : t + len(steps)] for t in range(len(values))]
        columns.append(np.array(slope) / (steps**2).sum())
    return np.concatenate(columns, axis=1)


def normalized(spec: Any, values: Array) -> Array:
    """Every feature with mean 0 (and deviation 1) over the frames.

    A deviation below 1e-6 counts as that, so that a constant feature becomes 0.
    """
    if spec.normalize == "none" or not len(values):
        return values
    values = values - values.mean(axis=0)
    if spec.normalize == "mean":
        return values
    return values / np.maximum(values.std(axis=0), 1e-6)
