"""What a file is that no demuxer takes: a word to the user, from its first bytes."""

from __future__ import annotations

import re

from merr_pipeline.encodings import decode

HEAD_BYTES = 1 << 16

PLAYLISTS = re.compile(
    r"\s*(#EXTM3U|ffconcat|\[playlist\]|\[reference\]|v=0\r?\n|<\?xml[^>]*>\s*<(MPD|smil|playlist)"
    r"|<MPD|<smil|<asx|RTSPtext)",
    re.IGNORECASE,
)
WEB_PAGE = re.compile(r"\s*(<!doctype html|<html)", re.IGNORECASE)


def guess_what(head: bytes) -> str:
    """A phrase for ``detail`` about a file that cannot be opened; ``head`` is how it begins."""
    if not head.strip(b"\0"):
        return "nothing but zeros; a copy or download was not finished"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "its index (moov) is missing or cut off; a recording, copy or download broke off"
    text = _as_text(head)
    if not text:
        return "no container that is read here"
    if PLAYLISTS.match(text):
        return "a playlist; give the files that it names"
    if WEB_PAGE.match(text):
        return "a web page; a download went wrong"
    return "text, no video"


def _as_text(head: bytes) -> str | None:
    """The head as text; None if it is none in any encoding that tables have here."""
    for part in (head, head.rpartition(b"\n")[0]):  # the last line may end within a character
        try:
            return decode(part)[0]
        except ValueError:
            continue
    return None
