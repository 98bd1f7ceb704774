"""The encodings in which real tables and subtitles come: UTF-8, UTF-16, and those of before.

Bytes that are no UTF-8 can be read in many old encodings, and all but one give words that nobody
wrote. So each reading is judged by how natural it is, and a file of which none is natural is
refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise

LEAST_NATURAL = 0.5  # of a reading that is believed
LEAST_OF_LANGUAGE = 0.2  # where the language is known, and has that encoding
JUDGED_CHARACTERS = 4000  # from the lines that are not ASCII

UTF_16 = ("utf-16-le", "utf-16-be")
GENERAL = ("gb18030", "big5", "cp932", "cp949", "cp1251", "koi8-r", "cp1252", "cp1250")
BY_LANGUAGE = {
    "zh": ("gb18030", "big5", "big5hkscs"), "yue": ("big5", "big5hkscs", "gb18030"),
    "ja": ("cp932", "euc-jp"), "ko": ("cp949",),
    "ru": ("cp1251", "koi8-r", "cp866"), "uk": ("cp1251", "koi8-u"),
    "be": ("cp1251",), "bg": ("cp1251",), "mk": ("cp1251",), "sr": ("cp1251", "cp1250"),
    "cs": ("cp1250",), "sk": ("cp1250",), "pl": ("cp1250",), "hu": ("cp1250",), "ro": ("cp1250",),
    "hr": ("cp1250",), "sl": ("cp1250",), "bs": ("cp1250",), "sq": ("cp1250",), "el": ("cp1253",),
    "tr": ("cp1254",), "az": ("cp1254",), "he": ("cp1255",), "ar": ("cp1256",), "fa": ("cp1256",),
    "ur": ("cp1256",), "et": ("cp1257",), "lv": ("cp1257",), "lt": ("cp1257",), "vi": ("cp1258",),
    "th": ("cp874",),
}  # fmt: skip
"""What the files of a language had before UTF-8; those of others are among `GENERAL`."""

SCRIPTS = {
    "cp1251": "CYRILLIC", "koi8-r": "CYRILLIC", "koi8-u": "CYRILLIC", "cp866": "CYRILLIC",
    "cp1253": "GREEK", "cp1255": "HEBREW", "cp1256": "ARABIC", "cp874": "THAI",
}  # fmt: skip
IDEOGRAPHS = {  # signs that are no letter of an alphabet, with the plain character set they are in
    "gb18030": "gb2312", "big5": "big5", "big5hkscs": "big5", "cp932": "shift_jis",
    "euc-jp": "shift_jis", "cp949": "euc_kr",
}  # fmt: skip
USUAL_LEADS = {  # first bytes of the rows that a character set keeps for its common signs
    "gb2312": range(0xB0, 0xD8), "big5": range(0xA4, 0xC7), "shift_jis": range(0x88, 0x98),
    "euc_kr": range(0xB0, 0xC9),
}  # fmt: skip

# The signs that make up most of what is said, in either writing of Chinese, and in Korean
HAN = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发"
    "后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小些主样理心她本前开但因"
    "只从想实日意无它与长把机第已使情明知全三关点外两高间问很最手向头相见被什二等或新己身果加话合回"
    "特信表老给次门常先东声提真走口认气别打女变何安少才太再感做接必场命许便空眼书非听白却光放像难完"
    "路记告求死张望觉让识候带吗吧呢啊哦嗯呀谢请爱找怎谁吃钱妈爸哥姐弟妹叫坏怕哭笑快错跟坐您"
    "這個們來為國說時會對過發後裡種經麼學現當沒動還進樣開實無與長機關點兩間問頭見話門東聲認氣別變"
    "許書聽卻難記張覺讓識帶嗎謝請愛誰錢媽錯"
)
HANGUL = frozenset(
    "이다는고에을가지나의어도한하를로은아기서그네요거내자사니안게면해리라시야여만인무일정오수제말너우왜뭐"
    "있없었았했겠습보주할들과와대전저알좋것건걸데때러렇모르미바부비생세스신실소속상성선마못더또돼된되같구"
    "까께냐잖죠줘줄금진짜집참친타터트함화"
)
CYRILLIC = frozenset("оеаинтсрвл")
WESTERN_SIGNS = frozenset("“”„‘’‚–—…«»‹›¡¿°£€©®·•™\xa0\xadªº½")
OUTSIDE_WORDS = WESTERN_SIGNS - frozenset("‘’–—…·\xa0\xad")

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LINE_BEYOND_ASCII = re.compile(r"[^\n]*[^\x00-\x7f][^\n]*")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_WORD = re.compile(r"[^\W\d_]+")


def decode(raw: bytes, language: str | None = None) -> tuple[str, str]:
    """Text and the name of its encoding; every other than ``utf-…`` is a guess.

    Args:
        raw: the bytes of a whole file.
        language: that of the text, where it is known (``zh-Hant``); its encodings are asked first.

    Raises:
        ValueError: they are no natural text in any of these.
    """
    if certain := _first(raw, _certain(raw)):
        return certain
    asked: list[tuple[tuple[str, ...], float]] = [(UTF_16, LEAST_NATURAL)]
    if 0 not in raw[:4096]:  # only UTF-16 has zeros
        usual = BY_LANGUAGE.get((language or "").split("-")[0], ())
        asked = [(usual, LEAST_OF_LANGUAGE), ((*GENERAL, *UTF_16), LEAST_NATURAL)]
    for encodings, least in asked:
        if found := _most_natural(raw, encodings, least):
            return found
    tried = ", ".join(dict.fromkeys(name for names, _ in asked for name in names))
    raise ValueError(
        f"no text in UTF-8, and no natural one in {tried}; "
        "convert it to UTF-8, or name its language"
    )


def _certain(raw: bytes) -> tuple[str, ...]:
    if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return ("utf-32", "utf-16")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return ("utf-16",)
    return ("utf-8-sig",)


def _first(raw: bytes, encodings: Iterable[str]) -> tuple[str, str] | None:
    return next(_readings(raw, encodings), None)


def _readings(raw: bytes, encodings: Iterable[str]) -> Iterator[tuple[str, str]]:
    for encoding in encodings:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            yield text, encoding.removesuffix("-sig")


def _most_natural(raw: bytes, encodings: Iterable[str], least: float) -> tuple[str, str] | None:
    """The most natural reading, the first of equals; None if none is natural enough."""
    best, most = None, 0.0
    for text, encoding in _readings(raw, encodings):
        natural = naturalness(text, encoding)
        if natural >= least and natural > most:
            best, most = (text, encoding), natural
    return best


# --- how natural a reading is ---------------------------------------------------------------------


def naturalness(text: str, encoding: str) -> float:
    """From 0 (nobody writes so) to 1, by what is beyond ASCII; signs of no use and no name are 0.

    Of a sign of Chinese, Japanese or Korean it counts how common it is; of an alphabet whether
    words are of one alphabet, have their capitals in front, and common letters; of an accent
    whether it stands alone among plain letters.
    """
    beyond = {sign for sign in set(text) if ord(sign) > 127}
    if any(unicodedata.category(sign) in ("Co", "Cn", "Cs") for sign in beyond):
        return 0.0
    if encoding.startswith("utf-16"):
        return _mean(_of_utf_16(sign) for sign in text[:JUDGED_CHARACTERS])
    judged = "\n".join(_LINE_BEYOND_ASCII.findall(text))[:JUDGED_CHARACTERS]
    if encoding in IDEOGRAPHS:
        signs = [
            sign for sign in judged if ord(sign) > 127 and unicodedata.category(sign)[0] == "L"
        ]
        return _mean((_of_ideograph(sign, IDEOGRAPHS[encoding]) for sign in signs), LEAST_NATURAL)
    if encoding in SCRIPTS:
        return _mean(_of_alphabet(judged, SCRIPTS[encoding]))
    return _mean(_of_accents(judged))


def _mean(values: Iterable[float], of_none: float = 0.0) -> float:
    found = list(values)
    return sum(found) / len(found) if found else of_none


def _of_utf_16(sign: str) -> float:
    """Bytes in the wrong order give signs from everywhere, hardly from where texts have theirs."""
    code = ord(sign)
    if unicodedata.category(sign)[0] == "M" or 0x0100 <= code < 0x0250:
        return 0.25
    if code < 0x0700 or sign in HAN or sign in HANGUL or 0x2010 <= code < 0x2040:
        return 1.0
    if 0x3000 <= code < 0x3100 or 0xFF00 <= code < 0xFF60:
        return 1.0
    return 0.5 if 0x4E00 <= code < 0xA000 or 0xAC00 <= code < 0xD7A4 else 0.0


def _of_ideograph(sign: str, plain_set: str) -> float:
    if sign in (HANGUL if plain_set == "euc_kr" else HAN):
        return 1.0
    if plain_set == "shift_jis" and 0x3040 <= ord(sign) < 0x3100:  # kana
        return 1.0
    try:
        stored = sign.encode(plain_set)
    except UnicodeEncodeError:
        return 0.0
    return 0.5 if stored[0] in USUAL_LEADS[plain_set] else 0.0


def _of_alphabet(text: str, script: str) -> Iterator[float]:
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        swapped = any(a.islower() and b.isupper() for a, b in pairwise(word))
        mixed = any(not unicodedata.name(letter, "").startswith(script) for letter in word)
        for place, letter in enumerate(word):
            usual = script != "CYRILLIC" or (letter.lower() in CYRILLIC and len(word) > 1)
            shouted = 0.5 if place and letter.isupper() else 1.0
            yield 0.0 if swapped or mixed else shouted if usual else 0.25 * shouted
    for sign in text:
        if ord(sign) > 127 and unicodedata.category(sign)[0] == "S" and sign not in WESTERN_SIGNS:
            yield 0.0 if sign not in "№♪" else 1.0


def _of_accents(text: str) -> Iterator[float]:
    for run in _BEYOND_ASCII.finditer(text):
        letters = sum(sign.isalpha() and sign not in WESTERN_SIGNS for sign in run[0])
        signs = sum(sign in WESTERN_SIGNS or unicodedata.category(sign) == "Mn" for sign in run[0])
        inside = (
            text[run.start() - 1 : run.start()].isalpha()
            and text[run.end() : run.end() + 1].isalpha()
        )
        odd = len(run[0]) > letters + signs or letters > 2 or (inside and run[0] in OUTSIDE_WORDS)
        yield from [0.0 if odd else 0.5 if letters == 2 else 1.0] * len(run[0])
