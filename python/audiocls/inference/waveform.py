"""Features as a torch module, for the exported model.

The module repeats what the engine computes, in the operators that a graph has. The Fourier
transform is two products with small matrices; frames are slices. Tests compare it with the engine.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from audiocls.engine.spec import FeatureSpec
from audiocls.errors import SettingError

# Standard deviations below this count as this, as in the engine.
_LEAST_DEVIATION = 1e-6


class Features(nn.Module):
    """Samples [batch, n] at the spec's rate → features [batch, frames, n_features], float32.

    Raises:
        SettingError: a spec of kind `stft` or `samples`, which no network takes.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        if spec.kind in ("stft", "samples"):
            raise SettingError("kind", spec.kind, "is no feature that a network takes")
        self.spec = spec
        self.dtype = torch.float64 if spec.precision == "double" else torch.float32
        self.centred = spec.padding in ("zero", "reflect")
        # Samples that stand around the signal.
        self.mirrored = spec.frame_length if spec.padding == "symmetric" else 0
        self.block = math.gcd(spec.frame_length, spec.hop_length)
        self.fourier = _Fourier(spec.n_fft, self.dtype)
        before = (spec.n_fft - spec.frame_length) // 2 if self.centred else 0
        self.around = (before, spec.n_fft - spec.frame_length - before)
        self.window = nn.Buffer(torch.from_numpy(_window(spec)).to(self.dtype))
        if spec.kind != "spectrogram":
            self.filters = nn.Buffer(torch.from_numpy(_filters(spec).T.copy()).float())
        if spec.kind == "mfcc":
            # In float64: of silence the sums cancel, and what rounding leaves of them differs from
            # frame to frame, which `normalize` would make large.
            self.cepstrum = nn.Buffer(torch.from_numpy(_cepstrum(spec).T.copy()))

    def forward(self, y: Tensor) -> Tensor:
        """Samples [batch, n] → features [batch, frames, n_features]."""
        spec = self.spec
        frames = self._frames(self._padded(self._emphasised(y)))
        if spec.remove_dc:
            frames = frames - frames.mean(dim=-1, keepdim=True)
        energy = frames.float().square().sum(dim=-1)
        if spec.preemphasis and spec.preemphasis_on == "frame":
            frames = _difference(frames, frames[..., :1], spec.preemphasis)
        frames = functional.pad(frames.to(self.dtype) * self.window, self.around)
        power = self.fourier(frames).float()
        values = power if spec.power == 2 else power.sqrt()
        if spec.scale_by_n_fft:
            values = values / spec.n_fft
        if spec.energy == "spectrum":
            energy = values.sum(dim=-1)
        if spec.kind != "spectrogram":
            values = values @ self.filters
        values = self._log(values) * spec.scale + spec.offset
        if spec.kind == "mfcc":
            values = (values.double() @ self.cepstrum).float()
            if spec.energy != "none":
                nats = self._floored(energy).log()
                unit = {"natural": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10)}
                values = torch.cat([nats[..., None] * unit[spec.log], values[..., 1:]], dim=-1)
        columns = [values]
        for order in range(1, spec.deltas + 1):
            if spec.delta_fit == "polynomial":
                columns.append(self._derivative(values, order))
            else:
                columns.append(self._slope(columns[-1]))
        return self._normalised(torch.cat(columns, dim=-1))

    # --- frames ---

    def _emphasised(self, y: Tensor) -> Tensor:
        c = self.spec.preemphasis
        if not c or self.spec.preemphasis_on != "signal":
            return y
        return torch.cat([y[:, :1], _difference(y, y[:, :1], c)[:, 1:]], dim=1)

    def _padded(self, y: Tensor) -> Tensor:
        """The signal with its padding, and zeros enough for the last block."""
        spec = self.spec
        if self.centred:
            half = spec.n_fft // 2
            if spec.padding == "reflect":
                y = functional.pad(y[:, None], (half, half), mode="reflect")[:, 0]
            else:
                y = functional.pad(y, (half, half))
        if spec.padding == "symmetric":
            before = spec.frame_length // 2 - spec.hop_length // 2
            after = spec.frame_length - before
            y = torch.cat([y[:, :before].flip(1), y, y[:, -after:].flip(1)], dim=1)
        return y

    def _frames(self, y: Tensor) -> Tensor:
        """[batch, frames, frame_length], as slices of blocks that frames have in common."""
        spec, block = self.spec, self.block
        if self.centred:
            n_frames = 1 + (y.shape[1] - spec.n_fft) // spec.hop_length
            y = y[:, self.around[0] :]
        elif spec.padding == "symmetric":
            n_frames = (y.shape[1] - self.mirrored + spec.hop_length // 2) // spec.hop_length
        elif spec.padding == "tail":
            # Zeros for a whole frame more: then the last one, whole or not, is a whole one.
            over = y.shape[1] + spec.hop_length - 1 - spec.frame_length
            n_frames = 1 + torch.sym_max(over, 0) // spec.hop_length  # type: ignore[no-untyped-call]
        else:
            n_frames = 1 + (y.shape[1] - spec.frame_length) // spec.hop_length
        n_frames = n_frames - int(spec.drop_last_frame)
        step, per_frame = spec.hop_length // block, spec.frame_length // block
        n_blocks = (n_frames - 1) * step + per_frame
        y = functional.pad(y, (0, spec.frame_length + spec.hop_length))[:, : n_blocks * block]
        blocks = y.reshape(y.shape[0], n_blocks, block)
        slices = [blocks[:, i : i + (n_frames - 1) * step + 1 : step] for i in range(per_frame)]
        return torch.cat(slices, dim=-1)

    # --- the logarithm and what follows ---

    def _floored(self, values: Tensor) -> Tensor:
        if self.spec.log_floor_rule == "max":
            return values.clamp(min=self.spec.log_floor)
        return torch.where(values == 0, self.spec.log_floor, values)

    def _log(self, values: Tensor) -> Tensor:
        spec = self.spec
        if spec.log == "none":
            return values
        tens = 10.0 if spec.power == 2 else 20.0
        unit = {"natural": 1.0, "log10": 1 / math.log(10), "db": tens / math.log(10)}[spec.log]
        values = self._floored(values).log() * unit
        if spec.top_db is not None:
            most = values.amax(dim=(1, 2), keepdim=True)
            values = torch.maximum(values, most - spec.top_db / (tens / math.log(10)) * unit)
        return values

    def _slope(self, x: Tensor) -> Tensor:
        """Slope of the least-squares line through `delta_width` frames, edges repeated."""
        half, n = self.spec.delta_width // 2, x.shape[1]
        first, last = x[:, :1].expand(-1, half, -1), x[:, -1:].expand(-1, half, -1)
        padded = torch.cat([first, x, last], dim=1)
        slope = torch.zeros_like(x)
        for i in range(1, half + 1):
            slope = slope + i * (padded[:, half + i :][:, :n] - padded[:, half - i :][:, :n])
        return slope / (2 * sum(i * i for i in range(1, half + 1)))

    def _derivative(self, x: Tensor, order: int) -> Tensor:
        """Derivative of the polynomial of degree `order` through `delta_width` frames.

        Near the edges it is that of the first and the last whole window.
        """
        half, n = self.spec.delta_width // 2, x.shape[1] - self.spec.delta_width + 1
        places = np.arange(-half, half + 1.0) ** order
        places -= places.mean() if order == 2 else 0
        whole = torch.zeros_like(x[:, :n])
        for i, place in enumerate(places / ((places**2).sum() / order)):
            whole = whole + float(place) * x[:, i : i + n]
        first, last = whole[:, :1].expand(-1, half, -1), whole[:, -1:].expand(-1, half, -1)
        return torch.cat([first, whole, last], dim=1)

    def _normalised(self, x: Tensor) -> Tensor:
        if self.spec.normalize == "none":
            return x
        wide = x.double()
        wide = wide - wide.mean(dim=1, keepdim=True)
        if self.spec.normalize == "mean_var":
            deviation = wide.square().mean(dim=1, keepdim=True).sqrt()
            wide = wide / deviation.clamp(min=_LEAST_DEVIATION)
        return wide.float()


class _Fourier(nn.Module):
    """Real frames [batch, frames, n] → power [batch, frames, n // 2 + 1].

    Cooley & Tukey 1965 with n = p · q, the first step over p points, the second over q with the
    twiddle factors in its matrices: p·p + p·q·q numbers instead of n·n.
    """

    def __init__(self, n: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.q = max(d for d in range(1, math.isqrt(n) + 1) if n % d == 0)
        self.p = n // self.q
        p, q = self.p, self.q
        # Of a real signal, bins k and n − k have the same power: half of the first step will do.
        self.k1 = p // 2 + 1
        k1, k2 = np.arange(self.k1), np.arange(q)
        first = np.exp(-2j * np.pi * np.outer(np.arange(p), k1) / p)
        second = np.exp(
            -2j * np.pi * (k1[:, None, None] / n + k2[None, None, :] / q) * k2[None, :, None]
        )
        by_parts = np.block([[second.real, second.imag], [-second.imag, second.real]])
        parts = np.concatenate([first.real, first.imag], axis=1)
        self.first = nn.Buffer(torch.from_numpy(parts).to(dtype))  # [p, 2·k1]
        self.second = nn.Buffer(torch.from_numpy(by_parts).to(dtype))  # [k1, 2q, 2q]
        bins = (k1[:, None] + p * k2[None, :]).ravel()
        place = {int(min(k, n - k)): i for i, k in reversed(list(enumerate(bins)))}
        self.order = nn.Buffer(torch.tensor([place[k] for k in range(n // 2 + 1)]))

    def forward(self, x: Tensor) -> Tensor:
        batch, frames = x.shape[:2]
        p, q, k1 = self.p, self.q, self.k1
        x = x.reshape(-1, p, q).transpose(1, 2) @ self.first  # [all frames, q, 2·k1]
        x = x.reshape(-1, q, 2, k1).permute(3, 0, 2, 1).reshape(k1, -1, 2 * q)
        x = (x @ self.second).square().reshape(k1, -1, 2, q).sum(dim=2)
        x = x.transpose(0, 1).reshape(batch, frames, k1 * q)
        return x[..., self.order]


def _difference(x: Tensor, before: Tensor, c: float) -> Tensor:
    """x[n] − c·x[n − 1], in float64 as in the engine: it is small where a signal is low."""
    wide = x.double()
    last = torch.cat([before.double(), wide[..., :-1]], dim=-1)
    return (wide - c * last).float()


# --- the matrices; formulas and sources as in rust_features/src/{window,mel,cepstrum}.rs ---


def _window(spec: FeatureSpec) -> NDArray[np.float64]:
    n = spec.frame_length
    if n == 1:
        return np.ones(1)
    t = np.arange(n) / (n if spec.window_periodic else n - 1)
    cos = [np.cos(2 * np.pi * k * t) for k in range(4)]
    hann = 0.5 - 0.5 * cos[1]
    shapes: dict[str, NDArray[np.float64]] = {
        "hann": hann,
        "hamming": 0.54 - 0.46 * cos[1],
        "blackman": 0.42 - 0.5 * cos[1] + 0.08 * cos[2],
        "blackman_harris": 0.35875 - 0.48829 * cos[1] + 0.14128 * cos[2] - 0.01168 * cos[3],
        "bartlett": 1 - np.abs(2 * t - 1),
        "povey": np.maximum(hann, 0) ** 0.85,
        "rectangular": np.ones(n),
    }
    return shapes[spec.window]


def _mel(scale: str, hz: NDArray[np.float64]) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hz / 700))
    high = 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4)
    return np.where(hz < 1000, hz / (200 / 3), high)


def _hz(scale: str, mel: NDArray[np.float64]) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    return np.where(mel < 15, mel * (200 / 3), 1000 * np.exp(np.log(6.4) * (mel - 15) / 27))


def _filters(spec: FeatureSpec) -> NDArray[np.float64]:
    """[n_mels, n_bins]: triangles between corners that are equally far apart in mel."""
    n_bins = spec.n_fft // 2 + 1
    top = spec.sample_rate / 2 if spec.fmax_hz is None else spec.fmax_hz
    low, high = _mel(spec.mel_scale, np.array([spec.fmin_hz, top]))
    mel = np.linspace(low, high, spec.n_mels + 2)
    hz = _hz(spec.mel_scale, mel)
    at = np.arange(n_bins) * spec.sample_rate / spec.n_fft
    corners = hz
    if spec.mel_shape == "mel":
        at, corners = _mel(spec.mel_scale, at), mel
    elif spec.mel_shape == "bins":
        at = np.arange(n_bins, dtype=np.float64)
        corners = np.floor((spec.n_fft + 1) * hz / spec.sample_rate)
    left, centre, right = (corners[i : i + spec.n_mels, None] for i in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        rise, fall = (at - left) / (centre - left), (right - at) / (right - centre)
    bank = np.where((at >= left) & (at < centre), rise, 0.0)
    bank = np.where((at >= centre) & (at < right), fall, bank)
    if spec.mel_shape == "mel":
        bank[:, spec.n_fft // 2 :] = 0  # Kaldi's filters end below the last bin
    if spec.mel_norm == "slaney":
        bank = bank * (2 / (hz[2:] - hz[:-2]))[:, None]
    return np.asarray(bank)


def _cepstrum(spec: FeatureSpec) -> NDArray[np.float64]:
    """[n_mfcc, n_mels]: the orthonormal DCT-II, liftered."""
    n, k = np.arange(spec.n_mels), np.arange(spec.n_mfcc)[:, None]
    basis = np.sqrt(2 / spec.n_mels) * np.cos(np.pi * k * (2 * n + 1) / (2 * spec.n_mels))
    basis[0] = np.sqrt(1 / spec.n_mels)
    if spec.lifter:
        basis = basis * (
            1 + spec.lifter / 2 * np.sin(np.pi * (k + spec.lifter_first) / spec.lifter)
        )
    return np.asarray(basis)
