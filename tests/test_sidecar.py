"""Subtitles beside a clip: finding them, reading them, and the words in a line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merr_pipeline.encodings import decode
from merr_pipeline.speech.sidecar import (
    BadSidecarError,
    Sidecar,
    find_sidecars,
    language_code,
    read_sidecar,
    seconds,
)
from merr_pipeline.speech.sidecar import parse as parse_with
from merr_pipeline.speech.subtitle_text import Cleaner, Cue
from merr_pipeline.speech.subtitle_words import load_subtitle_words

CLEANER = Cleaner(load_subtitle_words())

SRT = """1
00:00:00,500 --> 00:00:01,250
Where are you going?

2
00:00:01,400 --> 00:00:02,000
Home.
"""
VTT = """WEBVTT - a title

NOTE what follows is a cue

STYLE
::cue { color: yellow }

first
00:00.500 --> 00:01.250 align:start position:10%
<v.loud Anna>Where are <b>you</b> going?</v>

00:01.400 --> 00:02.000
Home.
"""
ASS = """[Script Info]
; a comment
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not for the screen
Dialogue: 0,0:00:01.40,0:00:02.00,Default,,0,0,0,,Home.
Dialogue: 0,0:00:00.50,0:00:01.25,Default,Anna,0,0,0,,{\\i1}Where are you\\N{\\i0}going, then?
Dialogue: 1,0:00:00.50,0:00:01.25,Default,Anna,0,0,0,,Where are you going, then?
Dialogue: 0,0:00:00.50,0:00:01.25,Default,,0,0,0,,{\\p1}m 0 0 l 100 0 100 100{\\p0}
"""


def parse(raw: bytes, kind: str, language: str | None = None):
    return parse_with(raw, kind, CLEANER, language)


def spoken(text: str) -> list[tuple[str | None, str]]:
    cues, _ = CLEANER.cues_of(Cue(0.0, 1.0, text))
    return [(cue.speaker, cue.text) for cue in cues]


def sounds(text: str) -> int:
    return CLEANER.cues_of(Cue(0.0, 1.0, text))[1]["sounds"]


# --- formats ---------------------------------------------------------------------------------


def test_subrip_gives_words_with_times():
    read = parse(SRT.encode(), ".srt")

    assert read.cues == (Cue(0.5, 1.25, "Where are you going?"), Cue(1.4, 2.0, "Home."))
    assert (read.malformed, read.left_out["sounds"], read.encoding) == (0, 0, "utf-8")


def test_webvtt_gives_words_times_and_the_voice_tag():
    read = parse(VTT.encode(), ".vtt")

    assert read.cues == (Cue(0.5, 1.25, "Where are you going?", "Anna"), Cue(1.4, 2.0, "Home."))
    assert read.malformed == 0


@pytest.mark.parametrize("kind", [".ass", ".ssa"])
def test_ass_is_sorted_and_loses_markup_drawings_and_repeated_layers(kind):
    read = parse(ASS.encode(), kind)

    assert read.cues == (
        Cue(0.5, 1.25, "Where are you going, then?", "Anna"),
        Cue(1.4, 2.0, "Home."),
    )
    assert read.malformed == 0


def test_ass_fields_are_read_by_name_not_by_place():
    text = "[Events]\nFormat: Start, End, Actor, Text\nDialogue: 0:00:01.00,0:00:02.00,Bo,a, b\n"

    assert parse(text.encode(), ".ass").cues == (Cue(1.0, 2.0, "a, b", "Bo"),)


def test_plain_text_has_no_times():
    read = parse(b"Where are you\n going?\n\n[door shuts]\nHome.\n", ".txt")

    assert read.cues == (Cue(None, None, "Where are you going? Home."),)
    assert read.left_out["sounds"] == 1


def test_subtitles_that_call_themselves_text_are_subtitles():
    assert parse(SRT.encode(), ".txt").cues == parse(SRT.encode(), ".srt").cues


def test_sloppy_subrip_is_read(tmp_path):
    text = (
        "\ufeff1\r\n0:0:0.5-->0:00:01,25   X1:40\r\n{\\an8}<i>Go</i>\r\n"
        "2\r\n 00:00:02,000  -->  00:00:03,000\r\n2024\r\n3\r\n00:00:04,000 --> 00:00:05,000\r\nEnd"
    )

    assert parse(text.encode(), ".srt").cues == (
        Cue(0.5, 1.25, "Go"),
        Cue(2.0, 3.0, "2024"),
        Cue(4.0, 5.0, "End"),
    )


def test_malformed_cues_are_skipped_and_counted():
    text = (
        "1\n00:00:01,000 --> 00:00:xx,000\nnever\n\n"
        "2\n00:00:03,000 --> 00:00:02,000\nbackwards\n\n"
        "stray words\n\n"
        "3\n00:00:04,000 --> 00:00:05,000\nkept\n"
    )

    read = parse(text.encode(), ".srt")

    assert [cue.text for cue in read.cues] == ["kept"]
    assert read.malformed == 3


def test_malformed_lines_of_ass_are_skipped_and_counted():
    text = ASS + "Dialogue: 0,soon,later,Default,,0,0,0,,never\nDialogue: 0,0:00:01.00\n"

    read = parse(text.encode(), ".ass")

    assert len(read.cues) == 2
    assert read.malformed == 2


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("00:00:01,500", 1.5), ("01:02:03.004", 3723.004), ("02:03.5", 123.5), ("100:00:00,0", 36e4)],
)
def test_clocks(clock, expected):
    assert seconds(clock) == pytest.approx(expected)


# --- encodings -------------------------------------------------------------------------------

CHINESE = "1\n00:00:00,500 --> 00:00:01,250\n你要去哪里？\n"


@pytest.mark.parametrize(
    ("codec", "named"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("gb18030", "gb18030"),
    ],
)
@pytest.mark.parametrize(
    ("text", "words"), [(CHINESE, "你要去哪里？"), (SRT, "Where are you going?")]
)
def test_encodings_are_told_apart(codec, named, text, words):
    read = parse(text.encode(codec), ".srt")

    assert read.cues[0].text == words
    assert read.encoding == ("utf-8" if text is SRT and codec == "gb18030" else named)


@pytest.mark.parametrize("words", ["Célèbre garçon, je suis très content", "Tschüs München, ätsch"])
def test_accents_are_not_taken_for_chinese(words):
    read = parse(words.encode("latin-1"), ".txt")

    assert (read.cues[0].text, read.encoding) == (words, "cp1252")


def test_one_chinese_word_among_english_is_chinese():
    read = parse("He said 你好 and left".encode("gb18030"), ".txt")

    assert (read.cues[0].text, read.encoding) == ("He said 你好 and left", "gb18030")


def test_western_text_that_is_no_gb18030_is_windows_1252():
    read = parse(SRT.replace("Home.", "Voilà ça.").encode("cp1252"), ".srt")

    assert read.cues[1].text == "Voilà ça."
    assert read.encoding == "cp1252"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "words", ["He said 一 word", "第一个人\u3000来了", "\u3000一天\n\u3000\u3000一夜", "Как дела"]
)
def test_utf_16_without_its_mark_is_read_in_the_order_that_gives_words(codec, words):
    text = SRT.replace("Home.", words)

    assert parse(text.encode(codec), ".srt").cues[1].text == " ".join(words.split())
    assert parse(f"{words}\n".encode(codec), ".txt").encoding == codec


OLD = {
    "gb18030": ("zh", ["你好", "张三：糟了，我的手机在包里", "糟糕透顶"]),
    "big5": ("zh-Hant", ["我不知道你為什麼要這樣做", "媽媽", "謝謝你"]),
    "cp932": ("ja", ["どうしてそんなことをするの", "東京"]),
    "cp949": ("ko", ["왜 그랬어 정말 모르겠어", "안녕하세요"]),
    "cp1251": ("ru", ["Почему ты так сделал", "Да, я не он"]),
    "koi8-r": ("ru", ["Почему ты так сделал"]),
    "cp1252": ("fr", ["Pourquoi as-tu fait ça", "It’s “fine” – ok…", "coração", "à"]),
    "cp1250": ("pl", ["Nie wiem, dlaczego to zrobiłeś"]),
}
OF_ONE_LANGUAGE = {
    "cp1250": ("cs", "Proč jsi to udělal, žádné štěstí"),
    "cp1253": ("el", "Γιατί το έκανες"),
    "cp1254": ("tr", "Neden böyle yaptın şimdi"),
    "cp1255": ("he", "למה עשית את זה"),
    "cp1256": ("ar", "لماذا فعلت ذلك"),
    "cp874": ("th", "ทำไมคุณทำแบบนี้"),
    "big5": ("zh-TW", "糟糕"),
}


@pytest.mark.parametrize("codec", OLD)
@pytest.mark.parametrize("language", ["known", None, "en"])
def test_encodings_of_before_utf_8_are_told_apart_by_what_gives_words(codec, language):
    own, texts = OLD[codec]
    for text in texts:
        read = parse(text.encode(codec), ".txt", own if language == "known" else language)

        assert (decode(text.encode(codec))[0], read.encoding) == (text, codec)


@pytest.mark.parametrize("codec", OF_ONE_LANGUAGE)
def test_the_language_tells_the_encoding(codec):
    language, text = OF_ONE_LANGUAGE[codec]

    assert decode(text.encode(codec), language) == (text, codec)


@pytest.mark.parametrize("codec", ["cp1253", "cp1255", "cp1256", "cp874"])
def test_a_text_that_would_be_mostly_accents_is_refused_with_what_to_do(codec):
    raw = SRT.replace("Home.", OF_ONE_LANGUAGE[codec][1]).encode(codec)

    with pytest.raises(BadSidecarError, match=r"big5, .*cp1252.*convert it to UTF-8, or name its"):
        parse(raw, ".srt")


def test_a_language_that_the_text_is_not_in_does_no_harm():
    text = "Célèbre garçon, je suis très content"

    for language in ("zh", "ja", "ru", "el", "ar"):
        assert decode(text.encode("cp1252"), language) == (text, "cp1252")


@pytest.mark.parametrize("kind", [".srt", ".vtt", ".ass", ".txt"])
@pytest.mark.parametrize("raw", [b"\x00\x01\x02\x03" * 40, b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_bytes_that_are_no_text_are_a_clear_error(kind, raw):
    with pytest.raises(BadSidecarError, match="no text in UTF-8"):
        parse(raw, kind)


def test_text_without_one_cue_is_a_clear_error():
    with pytest.raises(BadSidecarError, match="no readable cue, 1 malformed"):
        parse(b"1\nsome day --> some other day\nwords\n", ".srt")


@pytest.mark.parametrize("kind", [".srt", ".vtt", ".ass", ".txt"])
def test_an_empty_file_holds_no_words_and_is_no_error(kind):
    assert parse(b" \r\n\n", kind).cues == ()


def test_a_huge_file_is_refused():
    with pytest.raises(BadSidecarError, match="larger than 8 MiB"):
        parse(b"a" * (8 << 20 | 1), ".txt")


# --- words in a line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<i>No!</i>", "No!"),
        ('<font color="#fff">No!</font>', "No!"),
        ("{\\an8}No!", "No!"),
        ("two\nlines  of\twords", "two lines of words"),
        ("Tom &amp; I&nbsp;know", "Tom & I know"),
        ("- No!\n- Yes!", "No! Yes!"),
        ("-No!\n–Yes!", "No! Yes!"),
        ("-5 degrees", "-5 degrees"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("Well - no.", "Well - no."),
        ("We leave at 5:30", "We leave at 5:30"),
        ("Listen: no.", "Listen: no."),
    ],
)
def test_markup_goes_and_words_stay(text, words):
    assert spoken(text) == [(None, words)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ANNA: Come in.", [("ANNA", "Come in.")]),
        ("- DR. O'NEIL: Come in.", [("DR. O'NEIL", "Come in.")]),
        ("ANNA: Come\nin.\nBOB: No.", [("ANNA", "Come in."), ("BOB", "No.")]),
        ("Come in.\nBOB: No.", [(None, "Come in."), ("BOB", "No.")]),
        ("ANNA:\nCome in.", [("ANNA", "Come in.")]),
        ("<v Anna>Come in.", [("Anna", "Come in.")]),
    ],
)
def test_named_speakers_are_kept_beside_the_words(text, expected):
    assert spoken(text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        ("[music]", [], 1),
        ("(sighs) Fine.", [(None, "Fine.")], 1),
        ("Fine. (door\nshuts) Go.", [(None, "Fine. Go.")], 1),
        ("♪ la la la ♪", [], 1),
        ("♪ la la la", [], 1),
        ("（叹气）好吧。", [(None, "好吧。")], 1),
        ("[a] Fine. [b]", [(None, "Fine.")], 2),
        ("ANNA: (whispers) Go.", [("ANNA", "Go.")], 1),
        ("ANNA: [sobs]", [], 1),
    ],
)
def test_notes_on_sounds_are_left_out_and_counted(text, expected, count):
    assert spoken(text) == expected
    assert sounds(text) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("张三：糟了，我的手机在包里", [("张三", "糟了，我的手机在包里")]),
        ("张三: 糟了\n李四：走", [("张三", "糟了"), ("李四", "走")]),
        ("МАША: Привет", [("МАША", "Привет")]),
        (">> JOHN: Hi", [("JOHN", "Hi")]),
        (">> Hi there", [(None, "Hi there")]),
        ("（张三）：走", [(None, "走")]),
        ("他说：你好", [(None, "他说：你好")]),
        ("妈妈问：谁？", [(None, "妈妈问：谁？")]),
        ("你听：外面有人", [(None, "你听：外面有人")]),
        ("记住：别动", [(None, "记住：别动")]),
        ("WARNING: go", [(None, "WARNING: go")]),
        ("Anna: Come in.", [(None, "Anna: Come in.")]),  # who knows
        (
            "Anna: Come in.\nNobody: knows\nwhere.\nAnna: Well.",
            [("Anna", "Come in."), ("Nobody", "knows where."), ("Anna", "Well.")],
        ),
        ("Listen: no.\nListen: yes.", [(None, "Listen: no. Listen: yes.")]),
    ],
)
def test_names_of_any_script_are_told_from_other_words_before_colons(text, expected):
    raw = Cue(0.0, 1.0, text)

    cues, _ = CLEANER.knowing([raw]).cues_of(raw)

    assert [(cue.speaker, cue.text) for cue in cues] == expected


def test_a_name_in_small_letters_is_one_where_it_begins_several_cues_or_is_known():
    text = SRT.replace("Where", "Anna: Where").replace("Home", "Anna: Home")

    assert [cue.speaker for cue in parse(text.encode(), ".srt").cues] == ["Anna", "Anna"]
    known = CLEANER.knowing((), "anna")
    one = parse_with(text.replace("Anna: Home", "Home").encode(), ".srt", known)
    assert [(cue.speaker, cue.text) for cue in one.cues] == [
        ("Anna", "Where are you going?"),
        (None, "Home."),
    ]


@pytest.mark.parametrize("between", [" ", "\n"])
def test_each_voice_of_a_webvtt_cue_is_a_cue(between):
    text = f"<v Anna>Where <i>is</i> it?</v>{between}<v.loud Bob>Here.</v>"

    assert spoken(text) == [("Anna", "Where is it?"), ("Bob", "Here.")]


@pytest.mark.parametrize(
    ("text", "words", "count"),
    [
        ("［音乐］", [], 1),
        ("〔笑〕好", ["好"], 1),
        ("〈笑〉好", ["好"], 1),
        ("《音乐》", [], 1),
        ("*sighs* Fine.", ["Fine."], 1),
        ("〈今天天气好〉", ["〈今天天气好〉"], 0),
        ("看过《笑傲江湖》吗", ["看过《笑傲江湖》吗"], 0),
        ("I *really* mean it", ["I *really* mean it"], 0),
        ("*bring* it", ["*bring* it"], 0),
    ],
)
def test_marks_that_hold_words_as_often_hold_sounds_by_their_words(text, words, count):
    assert [said for _, said in spoken(text)] == words
    assert sounds(text) == count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("字幕：某某翻译", []),
        ("翻译: 某某\n校对: 某某", []),
        ("<i>Subtitles by</i>\nJohn Smith", []),
        ("www.OpenSubtitles.org", []),
        ("字幕：某某翻译\n张三：走", ["走"]),
        ("你看过字幕吗？", ["你看过字幕吗？"]),
        ("Subtitles are hard.", ["Subtitles are hard."]),
    ],
)
def test_who_made_the_subtitles_is_left_out_and_counted(text, words):
    cues, left_out = CLEANER.cues_of(Cue(0.0, 1.0, text))

    assert [cue.text for cue in cues] == words
    assert bool(left_out["credits"]) == (words != [text])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("{\\p1}m 0 0 l 9 9{\\p0}Hello you", 1),
        ("Hello {\\an8\\p1}m 0 0{\\i1} l 9 9{\\p0\\i0}you", 2),
        ("Hello you{\\p1}m 0 0 l 9 9", 1),
        ("{\\pos(1,2)}Hello{\\k20} you{a comment}", 0),
    ],
)
def test_of_ass_the_drawings_go_and_the_words_stay(text, count):
    cues, left_out = CLEANER.cues_of(Cue(0.0, 1.0, text, is_ass=True))

    assert [cue.text for cue in cues] == ["Hello you"]
    assert left_out["effects"] == count


def test_syllables_of_karaoke_are_left_out_and_counted():
    line = "Dialogue: 0,0:00:0{},0:00:09.00,Default,,0,0,0,{},{}\n"
    text = "[Events]\n" + line.format("1.00", "karaoke", "Oh no") + line.format("1.00", "fx", "Oh")

    read = parse(text.encode(), ".ass")

    assert [cue.text for cue in read.cues] == ["Oh no"]
    assert read.left_out == {"effects": 1}
    assert parse(("[Events]\n" + line.format("1.00", "FX", "Oh")).encode(), ".ass").cues == ()


# --- laws ------------------------------------------------------------------------------------

WORDS = st.text(
    st.characters(categories=("Lu", "Ll", "Lo", "Nd"), include_characters=" ,.?!'"),
    min_size=1,
    max_size=40,
).map(lambda text: " ".join(text.split()))
TIMES = st.lists(st.integers(0, 359_999), min_size=2, max_size=12, unique=True).map(sorted)


@st.composite
def made_cues(draw) -> list[Cue]:
    """Cues in order that do not touch, with times in whole hundredths of a second."""
    times = draw(TIMES)
    pairs = zip(times[::2], times[1::2], strict=False)
    letter = st.just("A")  # a text is more than its number
    return [
        Cue(start / 100, end / 100, f"{draw(letter)} {draw(WORDS)}".strip()) for start, end in pairs
    ]


def clock(at_s: float, point: str, digits: int) -> str:
    hundredths = round(at_s * 100)
    rest = f"{hundredths % 100:02d}".ljust(digits, "0")
    minutes, whole = divmod(hundredths // 100, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{whole:02d}{point}{rest}"


def render(cues: list[Cue], kind: str) -> str:
    if kind == ".ass":
        lines = [
            f"Dialogue: 0,{clock(c.start_s, '.', 2)},{clock(c.end_s, '.', 2)},,,0,0,0,,{c.text}"
            for c in cues
        ]
        return "[Events]\n" + "\n".join(lines)
    point = "," if kind == ".srt" else "."
    blocks = [
        f"{n}\n{clock(c.start_s, point, 3)} --> {clock(c.end_s, point, 3)}\n{c.text}\n"
        for n, c in enumerate(cues, 1)
    ]
    return ("WEBVTT\n\n" if kind == ".vtt" else "") + "\n".join(blocks)


@pytest.mark.parametrize("kind", [".srt", ".vtt", ".ass"])
@given(cues=made_cues(), newline=st.sampled_from(["\n", "\r\n", "\r"]))
def test_what_is_rendered_is_parsed_back(kind, cues, newline):
    text = render(cues, kind).replace("\n", newline)

    read = parse(text.encode(), kind)

    assert list(read.cues) == cues
    assert (read.malformed, read.left_out["sounds"]) == (0, 0)


@pytest.mark.parametrize("kind", [".srt", ".vtt", ".ass", ".txt"])
@given(raw=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_raise_anything_but_the_clear_error(kind, raw):
    with contextlib.suppress(BadSidecarError):
        parse(raw, kind)


@pytest.mark.parametrize("kind", [".srt", ".vtt", ".ass"])
@given(data=st.data())
def test_damaged_subtitles_raise_nothing_but_the_clear_error_and_keep_times_sane(kind, data):
    raw = bytearray({".srt": SRT, ".vtt": VTT, ".ass": ASS}[kind].encode())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        read = parse(bytes(raw), kind)
    except BadSidecarError:
        return
    assert all(cue.end_s > cue.start_s >= 0 for cue in read.cues)
    assert [cue.start_s for cue in read.cues] == sorted(cue.start_s for cue in read.cues)
    assert all(cue.text == " ".join(cue.text.split()) != "" for cue in read.cues)


# --- finding ---------------------------------------------------------------------------------


def names(media: Path, prefer: str | None = None) -> list[tuple[str, str | None]]:
    return [(found.path.name, found.language) for found in find_sidecars(media, prefer)]


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).touch()


def test_sidecars_have_the_stem_of_the_clip_and_maybe_a_language(tmp_path):
    touch(tmp_path, "a.mp4", "a.srt", "a.en.srt", "a.zh-Hans.VTT", "ab.srt", "a b.srt", "a.json")

    assert names(tmp_path / "a.mp4") == [
        ("a.en.srt", "en"),
        ("a.srt", None),
        ("a.zh-Hans.VTT", "zh-Hans"),
    ]


def test_the_preferred_language_comes_first_then_the_kind_then_the_name(tmp_path):
    touch(tmp_path, "a.mp4", "a.txt", "a.de.ass", "a.fr.srt", "a.en.srt", "a.vtt")

    assert [name for name, _ in names(tmp_path / "a.mp4")] == [
        "a.en.srt",
        "a.fr.srt",
        "a.vtt",
        "a.de.ass",
        "a.txt",
    ]
    assert names(tmp_path / "a.mp4", "deu")[0] == ("a.de.ass", "de")


def test_a_sidecar_of_another_clip_is_not_taken(tmp_path):
    touch(tmp_path, "talk.mp4", "talk.en.mp4", "talk.en.srt", "talk.2.srt", "Talk.srt")

    assert names(tmp_path / "talk.mp4") == []
    assert names(tmp_path / "talk.en.mp4") == [("talk.en.srt", None)]


@pytest.mark.parametrize(
    ("ending", "language"),
    [
        (".en.sdh.srt", "en"),
        (".eng.forced.srt", "en"),
        (".en.cc.vtt", "en"),
        (".en.hi.srt", "en"),
        (".hi.srt", "hi"),
        (".sdh.srt", None),
        (".forced.srt", None),
        (".chs.srt", "zh-Hans"),
        (".cht.ass", "zh-Hant"),
        (".SC.srt", "zh-Hans"),
        (".tc.srt", "zh-Hant"),
        (".jp.srt", "ja"),
        (".kr.srt", "ko"),
        (".pt-BR.srt", "pt-BR"),
        (".old.srt", None),
        (".the.srt", None),
        (".ass.srt", None),
    ],
)
def test_marks_in_a_name_are_found_and_mapped(tmp_path, ending, language):
    touch(tmp_path, "a.mp4", f"a{ending}")

    (found,) = find_sidecars(tmp_path / "a.mp4")

    assert (found.ending, found.language) == (ending, language)


def test_sidecars_that_are_not_known_or_do_not_hold_all_words_come_last(tmp_path):
    touch(tmp_path, "a.mp4", "a.en.forced.srt", "a.en.sdh.vtt", "a.bak.srt", "a.srt")

    assert [name for name, _ in names(tmp_path / "a.mp4")] == [
        "a.srt",
        "a.en.sdh.vtt",
        "a.bak.srt",
        "a.en.forced.srt",
    ]


def test_marks_of_another_clip_s_name_are_its_name(tmp_path):
    touch(tmp_path, "talk.mp4", "talk.en.mp4", "talk.en.sdh.srt", "talk.final.srt", "talk.a.b.srt")

    assert names(tmp_path / "talk.mp4") == []
    assert names(tmp_path / "talk.en.mp4") == [("talk.en.sdh.srt", None)]


def test_a_sidecar_that_comes_later_is_seen(tmp_path):
    touch(tmp_path, "a.mp4")
    assert names(tmp_path / "a.mp4") == []

    touch(tmp_path, "a.srt")
    os.utime(tmp_path, ns=(1, 1))  # as if time had passed

    assert names(tmp_path / "a.mp4") == [("a.srt", None)]


def test_a_folder_that_is_gone_has_no_sidecars(tmp_path):
    assert names(tmp_path / "gone" / "a.mp4") == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_sidecar_that_is_no_file_is_a_clear_error(tmp_path, make):
    make(tmp_path / "a.srt")

    with pytest.raises(BadSidecarError, match="not a regular file"):
        read_sidecar(Sidecar(tmp_path / "a.srt"), CLEANER)
    assert Sidecar(tmp_path / "a.srt").sha256() is None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("eng", "en"),
        ("EN", "en"),
        ("chi", "zh"),
        ("zh_CN", "zh-CN"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("es_419", "es-419"),
        ("tlh", "tlh"),
        ("English", "en"),
        ("mandarin", "zh"),
        ("en. The label of this clip is happy", None),
        ('en): "I hate you all', None),
        ("en-answer-happy", None),
        ("Gibberish", None),
        ("und", None),
        ("", None),
        (None, None),
    ],
)
def test_languages_have_one_spelling(name, code):
    assert language_code(name) == code


def test_a_folder_that_may_not_be_listed_has_no_sidecars(tmp_path, monkeypatch):
    (tmp_path / "clip.srt").write_text("hello")

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.listdir", refuse)
    assert find_sidecars(tmp_path / "clip.mp4") == []
