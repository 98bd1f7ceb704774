"""Subtitles beside a clip: ``<stem>.srt .vtt .ass .ssa .txt``, with marks ``<stem>.en.sdh.srt``.

Own tolerant parsers, because they must say what they left out: FFmpeg's readers drop what is
malformed without a count and do not tell one encoding from another.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from merr_pipeline.encodings import decode
from merr_pipeline.files import open_regular
from merr_pipeline.speech.subtitle_text import Cleaner, Cue

KINDS = (".srt", ".vtt", ".ass", ".ssa", ".txt")  # of two that serve, the earlier is taken
MAX_BYTES = 8 << 20
SUFFIX = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.IGNORECASE)  # it may be a language
MOST_MARKS = 2  # of a name: a language and a version
VERSIONS = {"sdh", "cc", "hi", "forced", "full", "default", "foreign"}  # hi alone is Hindi
ALIASES = {
    "chs": "zh-Hans", "cht": "zh-Hant", "sc": "zh-Hans", "tc": "zh-Hant", "zhs": "zh-Hans",
    "zht": "zh-Hant", "gb": "zh-Hans", "big5": "zh-Hant", "cn": "zh-CN", "tw": "zh-TW",
    "jp": "ja", "jpn": "ja", "kr": "ko", "cz": "cs", "gr": "el", "dk": "da",
    "ua": "uk", "vn": "vi", "pb": "pt-BR",
}  # fmt: skip
"""What the names of sidecars have for languages, and no standard; ``sc`` is never Sardinian."""


class BadSidecarError(ValueError):
    """A sidecar that cannot be read as subtitles; the text says why."""


@dataclass(frozen=True)
class Sidecar:
    """A file beside the clip: ``<stem><marks><suffix>``, with marks such as ``.en.sdh``."""

    path: Path
    marks: str = ""

    @property
    def ending(self) -> str:
        """What its name adds to that of the clip: ``.srt``, ``.en.srt``."""
        return self.marks + self.path.suffix

    @property
    def language(self) -> str | None:
        """The language that its name says; None also where a suffix is none that is known."""
        named = next((mark for mark in self._marks if not self._is_version(mark)), None)
        return None if named is None else suffix_language(named)

    @property
    def is_unknown(self) -> bool:
        """Whether its name has a suffix of which nobody knows whether it is a language."""
        return self.language is None and not all(map(self._is_version, self._marks))

    @property
    def is_forced(self) -> bool:
        """Whether it holds only what is said in a foreign language."""
        return any(mark.lower() in ("forced", "foreign") for mark in self._marks)

    @property
    def _marks(self) -> list[str]:
        return [mark for mark in self.marks.split(".") if mark]

    def _is_version(self, mark: str) -> bool:
        return mark.lower() in VERSIONS and (mark.lower() != "hi" or mark != self._marks[0])

    def sha256(self) -> str | None:
        """Of its bytes; None if it cannot be read."""
        try:
            with open_regular(self.path) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None


@dataclass(frozen=True)
class Subtitles:
    """What a sidecar says. Cues are in order of time; those of a ``.txt`` have no times."""

    cues: tuple[Cue, ...]
    encoding: str
    malformed: int = 0  # cues left out because they cannot be read
    left_out: Counter[str] = field(default_factory=Counter)  # as `Cleaner.cues_of`, and ``effects``


# --- finding ---------------------------------------------------------------------------------


def find_sidecars(media: Path, prefer_language: str | None = None) -> list[Sidecar]:
    """Sidecars of a clip, the one to trust first: language, then kind, then name.

    Those of which it is not known what they are, or that do not hold all words, come last.
    """
    wanted = primary_language(prefer_language)
    found = [
        Sidecar(media.parent / name, marks)
        for name, marks in _names_by_stem(media.parent).get(media.stem, ())
    ]

    def trust(sidecar: Sidecar) -> tuple[bool, bool, int, str]:
        other = wanted is not None and primary_language(sidecar.language) != wanted
        last = sidecar.is_unknown or sidecar.is_forced
        return other, last, KINDS.index(sidecar.path.suffix.lower()), sidecar.path.name

    return sorted(found, key=trust)


def _names_by_stem(folder: Path) -> dict[str, list[tuple[str, str]]]:
    try:
        return _listing(folder, folder.stat().st_mtime_ns)
    except OSError:  # gone, or its files may be opened and not listed
        return {}


@lru_cache(maxsize=8)
def _listing(folder: Path, changed_ns: int) -> dict[str, list[tuple[str, str]]]:
    """Names and marks of the sidecars of a folder by the stem of their clip.

    Kept while the folder does not change: it may hold 100,000 clips, and each of them asks.
    """
    del changed_ns  # part of the key
    names = sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    clips = {Path(name).stem for name in names if Path(name).suffix.lower() not in KINDS}
    found: dict[str, list[tuple[str, str]]] = {}
    for path in map(Path, names):
        if path.suffix.lower() in KINDS:
            for stem, marks in _stems(path.stem, clips):
                found.setdefault(stem, []).append((path.name, marks))
    return found


def _stems(name: str, clips: Set[str]) -> Iterator[tuple[str, str]]:
    """The stems of clips that a name without its suffix may belong to, each with the marks."""
    yield name, ""
    stem, marks = name, ""
    for _ in range(MOST_MARKS):
        if stem in clips:
            return
        stem, dot, mark = stem.rpartition(".")
        if not stem or not (mark.lower() in VERSIONS | ALIASES.keys() or SUFFIX.fullmatch(mark)):
            return
        marks = f"{dot}{mark}{marks}"
        yield stem, marks


# --- languages -------------------------------------------------------------------------------

ISO_639_1 = {
    "ara": "ar", "chi": "zh", "zho": "zh", "cmn": "zh", "cze": "cs", "ces": "cs", "dan": "da",
    "dut": "nl", "nld": "nl", "eng": "en", "fin": "fi", "fre": "fr", "fra": "fr", "ger": "de",
    "deu": "de", "gre": "el", "ell": "el", "heb": "he", "hin": "hi", "hun": "hu", "ind": "id",
    "ita": "it", "jpn": "ja", "kor": "ko", "nor": "no", "per": "fa", "fas": "fa", "pol": "pl",
    "por": "pt", "rum": "ro", "ron": "ro", "rus": "ru", "spa": "es", "swe": "sv", "tha": "th",
    "tur": "tr", "ukr": "uk", "vie": "vi",
}  # fmt: skip
LANGUAGE_NAMES = {
    "arabic": "ar", "chinese": "zh", "mandarin": "zh", "cantonese": "yue", "czech": "cs",
    "danish": "da", "dutch": "nl", "english": "en", "finnish": "fi", "french": "fr", "german": "de",
    "greek": "el", "hebrew": "he", "hindi": "hi", "hungarian": "hu", "indonesian": "id",
    "italian": "it", "japanese": "ja", "korean": "ko", "norwegian": "no", "persian": "fa",
    "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru", "spanish": "es",
    "swedish": "sv", "thai": "th", "turkish": "tr", "ukrainian": "uk", "vietnamese": "vi",
}  # fmt: skip
OTHER_LANGUAGES = (  # the rest of ISO 639-1, and a few more
    "aa ab ae af ak am an as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cu cv cy dv dz"
    " ee eo et eu ff fj fo fy ga gd gl gn gu gv ha ho hr ht hy hz ia ie ig ii ik io is iu jv ka kg"
    " ki kj kk kl km kn kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my"
    " na nb nd ne ng nn nr nv ny oc oj om or os pa pi ps qu rm rn rw sa sd se sg si sk sl sm sn so"
    " sq sr ss st su sw ta te tg ti tk tl tn to ts tt tw ty ug ur uz ve vo wa wo xh yi yo za zu"
    " fil hmn nan wuu"
)
KNOWN_LANGUAGES = {*ISO_639_1.values(), *LANGUAGE_NAMES.values(), *OTHER_LANGUAGES.split()}
UNKNOWN_LANGUAGES = {"", "und", "mis", "mul", "zxx"}
LANGUAGE_TAG = re.compile(
    r"([a-z]{2,3})((?:[-_][a-z]{4})?(?:[-_](?:[a-z]{2}|\d{3}))?)", re.IGNORECASE
)


def language_code(language: str | None) -> str | None:
    """``eng`` and ``English`` become ``en``, ``zh_CN`` becomes ``zh-CN``.

    Null for what is unknown (``und``), and for what is no tag of language, script and region
    (BCP 47) and no name in the list: tags of files and columns of manifests may hold anything, and
    this code is shown to language models.
    """
    written = (language or "").strip()
    tag = LANGUAGE_TAG.fullmatch(LANGUAGE_NAMES.get(written.lower(), written))
    if tag is None or tag[1].lower() in UNKNOWN_LANGUAGES:
        return None
    first = tag[1].lower()
    return ISO_639_1.get(first, first) + tag[2].replace("_", "-")


def suffix_language(suffix: str) -> str | None:
    """The language that a part of a file's name says; None for one that is not known to be one."""
    code = language_code(ALIASES.get(suffix.lower(), suffix))
    known = code is not None and code.split("-")[0] in KNOWN_LANGUAGES
    return code if known else None


def is_unreadable(language: str | None) -> bool:
    """Whether something is written there that is neither a language nor "unknown"."""
    written = (language or "").strip().lower()
    return written not in UNKNOWN_LANGUAGES and language_code(written) is None


def primary_language(language: str | None) -> str | None:
    """The language alone, without region or script."""
    code = language_code(language)
    return None if code is None else code.split("-")[0]


# --- reading ---------------------------------------------------------------------------------


def read_sidecar(sidecar: Sidecar, cleaner: Cleaner, language: str | None = None) -> Subtitles:
    """Read one sidecar; ``language`` is that of its text where its name says none.

    Raises:
        BadSidecarError: it cannot be read, is no text in a known encoding, or has text and not one
            readable cue.
    """
    try:
        with open_regular(sidecar.path) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadSidecarError(str(error.strerror)) from error
    return parse(raw, sidecar.path.suffix.lower(), cleaner, sidecar.language or language)


def parse(raw: bytes, kind: str, cleaner: Cleaner, language: str | None = None) -> Subtitles:
    """The subtitles in the bytes of a file of ``kind`` (its suffix).

    Args:
        raw: the bytes of the whole file.
        kind: ``.srt``, one of `KINDS`.
        cleaner: takes out what was not said.
        language: that of its text, where it is known: old encodings are those of a language.

    Raises:
        BadSidecarError: as `read_sidecar`.
    """
    if len(raw) > MAX_BYTES:
        raise BadSidecarError(f"larger than {MAX_BYTES >> 20} MiB")
    try:
        text, encoding = decode(raw, language_code(language))
    except ValueError as error:
        raise BadSidecarError(str(error)) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Subtitles((), encoding)
    left_out: Counter[str] = Counter()
    if kind in (".ass", ".ssa"):
        found, malformed = _parse_ass(text, left_out)
    elif kind == ".txt" and "-->" not in text:
        found, malformed = [Cue(None, None, text)], 0
    else:
        found, malformed = _parse_timed_blocks(text)
    if not found and not left_out:
        raise BadSidecarError(f"no readable cue, {malformed} malformed")
    cleaner = cleaner.knowing(found)
    cues: list[Cue] = []
    for raw_cue in sorted(found, key=lambda cue: (cue.start_s or 0.0, cue.end_s or 0.0)):
        clean, dropped = cleaner.cues_of(raw_cue)
        left_out += dropped
        cues += [cue for cue in clean if cue not in cues[-4:]]  # ASS repeats a line per layer
    return Subtitles(tuple(cues), encoding, malformed, left_out)


# --- SubRip and WebVTT -----------------------------------------------------------------------

TIMING = re.compile(
    r"\s*(?P<start>(?:\d{1,3}:)?\d{1,2}:\d{1,2}[,.]\d{1,3})\s*-->"
    r"\s*(?P<end>(?:\d{1,3}:)?\d{1,2}:\d{1,2}[,.]\d{1,3})(?:\s.*)?"
)
NO_CUE = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)|\d+\s*$")


def _parse_timed_blocks(text: str) -> tuple[list[Cue], int]:
    """Cues of SubRip and WebVTT, whose blocks differ in their heads alone, and malformed blocks."""
    cues: list[Cue] = []
    malformed = 0
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        starts = [at for at, line in enumerate(lines) if "-->" in line]
        if not starts:
            malformed += bool(lines) and not NO_CUE.match(lines[0])
        for at, end in zip(starts, [*starts[1:], len(lines)], strict=False):
            body = lines[at + 1 : end]
            if end < len(lines) and body and body[-1].strip().isdigit():
                body.pop()  # the number of the next cue, where no blank line parts them
            cue = _timed(TIMING.fullmatch(lines[at]), "\n".join(body))
            malformed += cue is None
            cues += [cue] if cue else []
    return cues, malformed


def _timed(timing: re.Match[str] | None, text: str, speaker: str | None = None) -> Cue | None:
    if timing is None:
        return None
    start_s, end_s = seconds(timing["start"]), seconds(timing["end"])
    return Cue(start_s, end_s, text, speaker) if end_s > start_s else None


def seconds(clock: str) -> float:
    """``1:02:03,5`` or ``02:03.500`` in seconds, to the millisecond."""
    total = 0.0
    for part in clock.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return round(total, 3)


# --- ASS and SSA -----------------------------------------------------------------------------

ASS_FIELDS = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
ASS_TIMING = re.compile(
    r"(?P<start>\d{1,3}:\d{1,2}:\d{1,2}\.\d{1,3}) (?P<end>\d{1,3}:\d{1,2}:\d{1,2}\.\d{1,3})"
)


def _parse_ass(text: str, left_out: Counter[str]) -> tuple[list[Cue], int]:
    """Cues of the dialogue lines of ``[Events]``, and malformed lines.

    Lines made for an effect (``fx``: syllables of karaoke) repeat other lines; they are counted.
    """
    fields = _ass_fields(ASS_FIELDS)
    cues: list[Cue] = []
    malformed = 0
    for line in text.split("\n"):
        kind, colon, rest = line.partition(":")
        if kind.strip() == "Format" and "Text" in rest and "Start" in rest:
            fields = _ass_fields(rest)
        elif colon and kind.strip() == "Dialogue":
            values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
            if values.get("Effect", "").strip().lower() == "fx":
                left_out["effects"] += 1
                continue
            cue = _ass_cue(values)
            malformed += cue is None
            cues += [cue] if cue else []
    return cues, malformed


def _ass_fields(names: str) -> list[str]:
    return [{"Actor": "Name"}.get(name.strip(), name.strip()) for name in names.split(",")]


def _ass_cue(values: dict[str, str]) -> Cue | None:
    if not {"Start", "End", "Text"} <= values.keys():
        return None
    timing = ASS_TIMING.fullmatch(f"{values['Start'].strip()} {values['End'].strip()}")
    cue = _timed(timing, values["Text"], values.get("Name", "").strip() or None)
    return replace(cue, is_ass=True) if cue else None
