"""What in subtitles is no word that was said: ``subtitle_words.yaml``, read, checked, asked."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from merr_pipeline.templates import load_model

TEMPLATE = "subtitle_words.yaml"
NAME = re.compile(r"\w[\w .'’&·・#-]{0,39}")
HAN_NAME = re.compile(r"[\u3400-\u9fff]{1,4}(?:[·・][\u3400-\u9fff]{1,6})*[0-9A-Z]?")
MOST_WORDS = 3  # of a name that is no capitals
LONGEST_SOUND = 40  # characters of a note


class SubtitleWords(BaseModel):
    """The whole of ``subtitle_words.yaml``; ``sha256`` is its content hash, for fingerprints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    credits: tuple[str, ...]
    sounds: tuple[str, ...]
    no_names: tuple[str, ...]
    signs_of_no_name: str
    sha256: str

    def is_credit(self, line: str) -> bool:
        """Whether a line names who made the subtitles."""
        return _plain(line).startswith(self._credits)

    def is_sound(self, text: str) -> bool:
        """Whether a text between marks that may hold words is a note on a sound."""
        return len(text) <= LONGEST_SOUND and self._sound.search(text.casefold()) is not None

    def is_name(self, name: str) -> bool:
        """Whether it is a name by its looks alone: ``DR. O'NEIL``, ``МАША``, ``张三``."""
        return self.may_be_name(name) and (name.isupper() or HAN_NAME.fullmatch(name) is not None)

    def may_be_name(self, name: str) -> bool:
        """Whether it is a name where it begins several lines: ``Anna``, ``민수`` too."""
        if NAME.fullmatch(name) is None or _plain(name) in self._no_names:
            return False
        if any(sign in self.signs_of_no_name for sign in name):
            return False
        parts = name.split()
        return name.isupper() or (
            len(parts) <= MOST_WORDS
            and not name[0].isdigit()
            and not any(part[0].islower() for part in parts)
        )

    @cached_property
    def _credits(self) -> tuple[str, ...]:
        return tuple(map(_plain, self.credits))

    @cached_property
    def _sound(self) -> re.Pattern[str]:
        whole = (re.escape(sound.casefold()) for sound in self.sounds)
        return re.compile("|".join(f"(?<![a-z]){s}" if s[0].isascii() else s for s in whole))

    @cached_property
    def _no_names(self) -> frozenset[str]:
        return frozenset(map(_plain, self.no_names))


def load_subtitle_words(templates: Path | None = None) -> SubtitleWords:
    """Read ``subtitle_words.yaml`` from the user's templates folder, else the shipped one.

    Raises:
        MerrError: the file is missing, or says something that cannot be.
    """
    return load_model(SubtitleWords, TEMPLATE, templates)


def _plain(text: str) -> str:
    """One case, one width, no blanks."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
