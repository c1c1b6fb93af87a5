"""Another task than instruments: ten spoken digits, six synthetic voices, as six people record.

    python research/orchestra/spoken_digits.py OUT [--takes 50]

writes OUT/metadata.csv and 3,000 recordings (mono, 8 kHz, 16 bit). Every voice has one microphone
and one room, and a level of noise, of its own; speed and pitch change from take to take. Leave one
voice out to see how a recipe does on people that it has not heard:

    audiocls extract OUT --feature mel-16k --out features/digits
    audiocls compare --features features/digits --models best --group-by voice --folds logo

Needs espeak-ng. The same command gives the same recordings, and goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from shutil import which

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from audiocls.files import write_csv
from degrade import equalised, noisy, reverb
from recording import write_recording
from unknown_sounds import RATE as SPOKEN_RATE
from unknown_sounds import speak

RATE = 8000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Voice → the noise where it speaks: decibels below the speech.
VOICES = {
    "en-us+m1": 35.0,
    "en-us+f1": 20.0,
    "en-gb+m3": 30.0,
    "en-gb+f4": 15.0,
    "en-gb-scotland+m7": 25.0,
    "en-gb-x-rp+f3": 40.0,
}


def take(voice: int, digit: int, number: int) -> NDArray[np.float64]:
    """One recording, samples at 8 kHz. Raises RuntimeError if espeak-ng fails."""
    name, snr_db = list(VOICES.items())[voice]
    rng = np.random.default_rng([voice, digit, number])
    speed, pitch = int(rng.integers(120, 200)), int(rng.integers(25, 75))
    y = speak(name, DIGITS[digit], speed, pitch)
    y = resample_poly(y, RATE // 100, SPOKEN_RATE // 100)
    y = np.pad(y, (int(rng.integers(100, 1000)), 1000))
    # What a voice's own generator draws is the same in every take: its room and its microphone.
    for there in (reverb, equalised):
        y = there(y, RATE, np.random.default_rng(voice))
    y = noisy(snr_db)(y, RATE, rng)
    level = 10 ** (rng.uniform(-20, 0) / 20)
    return y * level * 0.9 / np.abs(y).max()


def main(arguments: list[str] | None = None) -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--takes", type=int, default=50, help="of each digit and voice")
    given = parser.parse_args(arguments)
    if which("espeak-ng") is None:
        sys.exit("espeak-ng is missing: apt-get install espeak-ng")
    rows = []
    for voice, name in enumerate(VOICES):
        for digit, word in enumerate(DIGITS):
            for number in range(given.takes):
                file = Path(word, f"{name}_{number:02}.wav")
                target = given.out / file
                if not target.exists():
                    write_recording(target, take(voice, digit, number), RATE)
                rows.append((file.as_posix(), word, name))
    write_csv(given.out / "metadata.csv", ("file_name", "label", "voice"), rows)
    print(f"{given.out}: {len(rows)} recordings")


if __name__ == "__main__":
    main()
