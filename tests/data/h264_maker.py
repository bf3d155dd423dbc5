# SPDX-License-Identifier: Apache-2.0
"""H.264 by hand: pictures of one grey, unpredicted (I_PCM), and pictures that repeat the last."""

import re

SIDE = 32  # pixels: 2 x 2 macroblocks


def key_picture(grey: int, number: int = 0) -> bytes:
    """Parameters and an IDR picture.

    Args:
        grey: luma, 16 to 235; RGB is 255 / 219 (grey - 16).
        number: of the key picture; two in a row must differ in parity.
    """
    block = bytes([grey] * 256 + [128] * 128)
    head = _ue(0) + _ue(7) + _ue(0) + "0000" + _ue(number % 2) + "00" + _se0()
    bits = head
    for _ in range(4):
        bits += _ue(25)
        bits += "0" * (-len(bits) % 8) + "".join(f"{byte:08b}" for byte in block)
    return _parameters() + _unit(0x65, bits)


def repeated_picture(number: int, *, kind: int = 5) -> bytes:
    """A picture whose macroblocks are all skipped: it shows what the one before showed.

    Args:
        number: of pictures since the key picture.
        kind: 5 is predicted from the past (P), 6 from both sides (B).
    """
    bits = _ue(0) + _ue(kind) + _ue(0) + f"{number % 16:04b}"
    return _unit(0x41, bits + "000" + _se0() + _ue(4))


def _parameters() -> bytes:
    sps = "01000010" + "00000000" + "00001010" + _ue(0) + _ue(0) + _ue(2) + _ue(1) + "0"
    sps += _ue(SIDE // 16 - 1) * 2 + "1" + "0" + "0" + "0"
    pps = _ue(0) * 2 + "00" + _ue(0) * 3 + "0" + "00" + _se0() * 3 + "000"
    return _unit(0x67, sps) + _unit(0x68, pps)


def _ue(value: int) -> str:
    """Exp-Golomb, unsigned."""
    text = f"{value + 1:b}"
    return "0" * (len(text) - 1) + text


def _se0() -> str:
    return "1"


def _unit(head: int, bits: str) -> bytes:
    """A NAL unit with start code, stop bit and escaped zeros."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    escaped = re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", data)
    return b"\0\0\0\1" + bytes([head]) + escaped
