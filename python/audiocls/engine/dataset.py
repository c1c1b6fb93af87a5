"""The engine's data-set side, for those who make and keep stores and streams."""

from audiocls._native import Cutter as Cutter
from audiocls._native import Extraction as Extraction
from audiocls._native import FileLock as FileLock
from audiocls._native import Resampler as Resampler
from audiocls._native import __version__ as __version__
from audiocls._native import audio_hash as audio_hash
from audiocls._native import checksum as checksum
from audiocls._native import clip_shape as clip_shape
