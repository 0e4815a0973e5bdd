"""Sections of ELF programs (System V gABI, chapter 4; 64 bits, little endian)."""

from __future__ import annotations

import struct

ELF = b"\x7fELF"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NO_BYTES = 8  # SHT_NOBITS: takes no space in the file


def sections(data: bytes) -> dict[str, bytes]:
    """The content of sections by name; sections with the same name are joined, empty ones are included.

    Raises:
        ValueError: not a 64-bit little-endian ELF file, or a damaged one.
    """
    if not data.startswith(ELF + b"\x02\x01") or len(data) < _HEADER.size:
        raise ValueError("not a 64-bit little-endian ELF file")
    header = _HEADER.unpack_from(data)
    offset, size, count, names = header[6], header[11], header[12], header[13]
    if offset + size * count > len(data) or (count and (size != _SECTION.size or names >= count)):
        raise ValueError("the table of sections lies outside the ELF file")
    table = [_SECTION.unpack_from(data, offset + size * number) for number in range(count)]
    if any(entry[1] != _NO_BYTES and entry[4] + entry[5] > len(data) for entry in table):
        raise ValueError("a section lies outside the ELF file")
    found: dict[str, bytes] = {}
    for entry in table:
        start = table[names][4] + entry[0]
        name = data[start : data.index(b"\0", start)].decode("ascii", "replace")
        found[name] = found.get(name, b"") + (b"" if entry[1] == _NO_BYTES else data[entry[4] : entry[4] + entry[5]])
    return found
