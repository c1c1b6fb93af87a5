"""Silence as Ogg Opus, which few bytes make very long: packets of two bytes and 120 ms."""

from __future__ import annotations

import struct

RATE = 48_000  # of every Opus stream
PACKET = 5760  # samples


def silence(seconds: float) -> bytes:
    """An Ogg Opus file (RFC 7845) of so many seconds; an hour takes 93 kB."""
    head = b"OpusHead\1\1" + struct.pack("<HIhB", 0, RATE, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 1) + b"x" + struct.pack("<I", 0)
    pages = [_page([head], 0, 0, flags=2), _page([tags], 0, 1)]
    left, granule = round(seconds * RATE / PACKET), 0
    while left:
        n = min(255, left)
        left, granule = left - n, granule + n * PACKET
        pages.append(_page([b"\xfb\x06"] * n, granule, len(pages), flags=0 if left else 4))
    return b"".join(pages)


def _page(packets: list[bytes], granule: int, number: int, flags: int = 0) -> bytes:
    """One page (RFC 3533, section 6)."""
    head = b"OggS\0" + bytes([flags]) + struct.pack("<qII", granule, 7, number)
    sizes = bytes([len(packets)]) + bytes(len(p) for p in packets)
    body = sizes + b"".join(packets)
    return head + struct.pack("<I", _checksum(head + bytes(4) + body)) + body


def _checksum(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8) & 0xFFFFFFFF ^ _TABLE[(crc >> 24) ^ byte]
    return crc


def _remainder(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1) & 0xFFFFFFFF ^ (0x04C11DB7 if crc & 0x80000000 else 0)
    return crc


_TABLE = [_remainder(byte) for byte in range(256)]
