"""The encodings in which real tables and subtitles come: UTF-8, UTF-16, GB 18030, Windows-1252."""

from __future__ import annotations

import re
from statistics import median

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode(raw: bytes) -> tuple[str, str]:
    """Text and the name of its encoding.

    Without UTF-8 or a UTF-16 mark, bytes are GB 18030 or Windows-1252, and often could be read as
    either: `_looks_chinese` decides.

    Raises:
        ValueError: they are no text in any of these.
    """
    for encoding in _encodings(raw):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text, encoding.removesuffix("-sig")
    raise ValueError("no text in UTF-8, UTF-16, GB 18030 or Windows-1252")


def _encodings(raw: bytes) -> tuple[str, ...]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("utf-16",)
    sample = raw[:4096]
    if sample.count(0) > len(sample) // 4:  # UTF-16 without its mark: half of ASCII text is 0
        return ("utf-16-le", "utf-16-be") if sample[1::2].count(0) else ("utf-16-be",)
    legacy = ("gb18030", "cp1252") if _looks_chinese(raw) else ("cp1252",)
    return ("utf-8-sig", *legacy)


def _looks_chinese(raw: bytes) -> bool:
    """Whether bytes over 127 come in runs: Chinese words do, accents stand alone among letters."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", raw)]
    return bool(runs) and median(runs) >= 2
