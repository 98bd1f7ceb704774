"""The evidence list of a clip: everything that a text about it may point to, numbered E1, E2, ...

It is made from the rows of the stages alone: active Action Units at the peak, a notable head pose,
how far the moment stands out, the voice in words, the quotation, who speaks when, what is to be
seen, and last what is missing and why. What is not in the list, no text may claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from merr_pipeline.emotion.facs import ActionUnitTable
from merr_pipeline.emotion.rules import Rules, Seen
from merr_pipeline.fuse.wording import FineText
from merr_pipeline.schema import Reason, Row
from merr_pipeline.stage import is_ok


class Kind(StrEnum):
    """What an item tells; finer than its modality."""

    ACTION_UNIT = "action_unit"  # key: its code
    STILL_FACE = "still_face"  # seen, and nothing is active but what talking moves
    HEAD_POSE = "head_pose"
    PEAK = "peak"  # key: the verdict
    VOICE = "voice"  # key: the feature, e.g. "tempo"; word: e.g. "fast"
    AROUSAL = "arousal"  # word: e.g. "very high"
    WORDS = "words"  # word: the quotation
    ORIGINAL = "original"  # what was said, where the quotation is a translation
    TURNS = "turns"  # who speaks when, where the words name several
    SCENE = "scene"  # key: the fact, e.g. "light"; word: e.g. "dim"
    MISSING = "missing"  # key: the stage, "unseen_units", "turned_face" or "caution"


@dataclass(frozen=True)
class Item:
    """One piece of evidence. ``row`` is what the dataset holds of it."""

    kind: Kind
    modality: str  # face | voice | words | scene | missing
    key: str
    text: str
    word: str = ""
    time_s: float | None = None
    value: float | None = None
    scale: str | None = None
    reliability: str | None = None
    id: str = ""

    @property
    def is_sure(self) -> bool:
        """Proxies and values of low reliability are said with a doubt."""
        return self.reliability != "low" and self.scale != "proxy_0_5"

    def row(self) -> Row:
        """As ``schema.EVIDENCE`` has it."""
        names = ("id", "modality", "text", "time_s", "value", "scale", "reliability")
        return {name: getattr(self, name) for name in names}


Rows = Mapping[str, Row]

MOST_TURNS = 8  # told of one clip
COMMON_REST = ", against a rest that is the same for everybody"
HEARD_ALONE = " (heard by a model, not measured)"


def collect_evidence(rows: Rows, rules: Rules, wording: FineText) -> list[Item]:
    """The evidence of one clip, numbered from E1, what is missing last.

    An empty list, or one of missing things alone, says that nothing was measured.
    """
    items = [
        *_face_items(rows, rules, wording),
        *_voice_items(rows),
        *_words_items(rows),
        *_scene_items(rows, wording),
        *_missing_items(rows, rules, wording),
    ]
    return [replace(item, id=f"E{number}") for number, item in enumerate(items, start=1)]


def _face_items(rows: Rows, rules: Rules, wording: FineText) -> Iterator[Item]:
    if not (is_ok(rows, "face") and is_ok(rows, "moment")):
        return
    moment, scale = rows["moment"], rows["face"]["au_scale"]
    seen = rules.seen(moment)
    active = rules.active(seen, scale)
    yield from (_action_unit(code, seen, scale, moment, rules.table) for code in active)
    relevant = sorted(code for code in seen if rules.table.units[code].emotion_relevant)
    held = [unit["au"] for unit in moment["action_units"] if unit["held"]]
    only_speech = all(rules.table.units[code].moved_by_speech for code in active)
    if relevant and only_speech and not (active and held):
        yield _still_face(seen, bool(active), scale, moment["peak_time_s"], relevant)
    if pose := wording.pose_words(moment["head_pose"]):
        yield Item(
            Kind.HEAD_POSE,
            "face",
            "head_pose",
            f"head {pose}{_at(moment['peak_time_s'])}",
            pose,
            moment["peak_time_s"],
        )
    if relevant and moment["peak_verdict"] and not _is_picture(rows):
        yield _peak(moment, held)


def _action_unit(code: str, seen: Seen, scale: str, moment: Row, table: ActionUnitTable) -> Item:
    unit, time_s = seen[code], moment["peak_time_s"]
    amount = {
        "intensity_0_5": f"{unit.value:.2f} of 5",
        "probability": f"probability {unit.value:.2f}",
    }.get(scale, f"{unit.value:.2f} on an uncalibrated scale of 0 to 5")
    against = COMMON_REST if code in _by_rest(moment, "common") else ""
    return Item(
        Kind.ACTION_UNIT,
        "face",
        code,
        f"{code} {table.units[code].name.lower()}: {amount}{_at(time_s)}{against}",
        time_s=time_s,
        value=unit.value,
        scale=scale,
        reliability=unit.reliability,
    )


def _still_face(
    seen: Seen, mouth_moves: bool, scale: str, time_s: float | None, measured: list[str]
) -> Item:
    """As reliable as the best of the Action Units that it rests on: of a turned face none is."""
    codes = ", ".join(measured)
    reliable = {seen[code].reliability for code in measured} - {"low"}
    what = f"none of the {len(measured)} facial actions measured is active"
    if mouth_moves:
        what = f"no facial action but such as speech brings is active, of {len(measured)} measured"
    return Item(
        Kind.STILL_FACE,
        "face",
        "still_face",
        f"{what} ({codes})",
        codes,
        time_s,
        scale=scale,
        reliability="moderate" if reliable else "low",
    )


def _by_rest(moment: Row, *rests: str) -> list[str]:
    """The Action Units that are measured against such a rest, or have no value for want of one."""
    return [unit["au"] for unit in moment["action_units"] or [] if unit["rest"] in rests]


def _is_picture(rows: Rows) -> bool:
    """Whether the clip is a still picture, in which no moment can stand out."""
    return "voice" in rows and rows["voice"]["reason"] == Reason.STILL


def _peak(moment: Row, held: list[str]) -> Item:
    """How far the moment stands out, and what is kept up beside it."""
    verdict, time_s = moment["peak_verdict"], moment["peak_time_s"]
    if verdict == "weak" and not moment["peaks"]:
        verdict = "held"  # an expression kept up through the shot: no moment is more than another
    text = {
        "clear": "the face is clearly at its most expressive",
        "weak": "the face is somewhat more expressive than before and after",
        "held": f"the expression is held ({', '.join(held)}); no moment stands out",
    }.get(verdict, "no moment stands out in the face")
    timed = verdict in {"clear", "weak"}
    beside = f"; held through most of the shot: {', '.join(held)}" if held and timed else ""
    return Item(
        Kind.PEAK,
        "face",
        verdict,
        f"{text}{_at(time_s) if timed else ''}{beside}",
        time_s=time_s if timed else None,
        value=moment["peak_score"],
    )


def _voice_items(rows: Rows) -> Iterator[Item]:
    if not is_ok(rows, "tone"):
        return
    tone = rows["tone"]
    reliability = "low" if tone["cautions"] else None
    for entry in tone["words"] or []:
        name = entry["feature"].replace("_", " ")
        unit = None if entry["unit"] == entry["feature"] else entry["unit"]  # "pauses: one (1)"
        is_heard = entry.get("reliability") == "low"
        number = HEARD_ALONE if is_heard else _number(entry["value"], unit)
        yield Item(
            Kind.VOICE,
            "voice",
            entry["feature"],
            f"{name}: {entry['word']}{number}",
            entry["word"],
            value=entry["value"],
            scale=entry["unit"],
            reliability=entry.get("reliability") or reliability,
        )
    if tone["arousal_word"]:
        is_heard = tone["arousal"] is None
        number = HEARD_ALONE if is_heard else _number(tone["arousal"], None)
        yield Item(
            Kind.AROUSAL,
            "voice",
            "arousal",
            f"vocal arousal: {tone['arousal_word']}{number}",
            tone["arousal_word"],
            value=tone["arousal"],
            reliability="low" if is_heard else reliability,
        )


def _words_items(rows: Rows) -> Iterator[Item]:
    if not is_ok(rows, "transcript") or not rows["transcript"]["transcript"]:
        return
    row = rows["transcript"]
    quotation = plain_quotation(row["transcript"])
    if not quotation:
        return
    speakers = {turn["speaker"] for turn in row["turns"] or [] if turn["speaker"]}
    notes = (
        row["transcript_source"],
        row["text_language"],
        "a translation" if row["is_translation"] else None,
        f"{len(speakers)} speakers" if len(speakers) > 1 else None,
    )
    origin = ", ".join(filter(None, notes))
    starts = [s["start_s"] for s in row["segments"] or [] if s["start_s"] is not None]
    yield Item(
        Kind.WORDS,
        "words",
        "transcript",
        f'transcript ({origin}): "{quotation}"',
        quotation,
        time_s=min(starts, default=None),
    )
    if original := plain_quotation(row.get("original_transcript") or ""):
        origin = ", ".join(filter(None, (row["original_source"], row["spoken_language"])))
        text = f'original words ({origin}): "{original}"'
        yield Item(Kind.ORIGINAL, "words", "original", text, original)
    if len(speakers) > 1:
        yield _turns(row)


def _turns(row: Row) -> Item:
    """Who speaks when. Their names stay out: they would tell who somebody is, and of what gender.

    Several are letters in the order of speaking; a turn of nobody known is ``somebody``'s.
    """
    names = dict.fromkeys(turn["speaker"] for turn in row["turns"] if turn["speaker"])
    letters = {name: f"speaker {_letter(place)}" for place, name in enumerate(names)}
    told = [
        f"{letters.get(turn['speaker'], 'somebody')} {turn['start_s']:.2f} to {turn['end_s']:.2f} s"
        for turn in row["turns"][:MOST_TURNS]
    ]
    if (more := len(row["turns"]) - MOST_TURNS) > 0:
        told.append(f"and {more} more")
    if "overlapping_turns" in (row.get("flags") or []):
        told.append("two of them at once")
    first_s = row["turns"][0]["start_s"]
    return Item(Kind.TURNS, "words", "turns", f"turns: {', '.join(told)}", time_s=first_s)


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def plain_quotation(text: str) -> str:
    """The words on one line, with no double quotation mark inside that could end them.

    Empty where there are none: dots and dashes are no words.
    """
    if not any(letter.isalnum() for letter in text):
        return ""
    for mark in '"“”„«»「」『』＂':
        text = text.replace(mark, "'")
    return " ".join(text.split())


def _scene_items(rows: Rows, wording: FineText) -> Iterator[Item]:
    if not is_ok(rows, "scene"):
        return
    row = rows["scene"]
    if row["scene_source"] != "measured_facts" and row["scene"]:
        yield from _described_items(row)
    facts = dict(row["scene_facts"] or {})
    if facts.get("faces_in_view") is None and _has_several_faces(rows):
        facts["faces_in_view"] = "several"
    for key in wording.scene_facts:
        if facts.get(key) is not None:
            word = str(facts[key])
            yield Item(Kind.SCENE, "scene", key, f"{key.replace('_', ' ')}: {word}", word)


def _described_items(row: Row) -> Iterator[Item]:
    """What a model saw: the whole, then its parts."""
    parts = row.get("scene_parts") or {}
    for key, said in {"scene": row["scene"], **parts}.items():
        text = plain_quotation(said if isinstance(said, str) else ", ".join(said or []))
        if text:
            name = "scene" if key == "scene" else f"scene, {key}"
            yield Item(Kind.SCENE, "scene", key, f"{name} ({row['scene_source']}): {text}", text)


def _has_several_faces(rows: Rows) -> bool:
    """Whether another than the main person is tracked around the peak."""
    if not is_ok(rows, "moment") or (peak_s := rows["moment"]["peak_time_s"]) is None:
        return False
    others = rows["moment"].get("others") or []
    return any(other["start_s"] <= peak_s <= other["end_s"] for other in others)


def _missing_items(rows: Rows, rules: Rules, wording: FineText) -> Iterator[Item]:
    for stage, name in wording.missing.stages.items():
        if stage in rows and not is_ok(rows, stage):
            reason = rows[stage]["reason"]
            told = wording.missing.reasons.get(reason, str(reason).replace("_", " "))
            yield Item(Kind.MISSING, "missing", stage, f"no {name}: {told}", str(reason))
    if is_ok(rows, "tone"):
        for caution in rows["tone"]["cautions"] or []:
            yield Item(Kind.MISSING, "missing", "caution", f"about the voice: {caution}", caution)
    if is_ok(rows, "face") and is_ok(rows, "moment"):
        moment = rows["moment"]
        seen = rules.seen(moment)
        relevant = [code for code, unit in rules.table.units.items() if unit.emotion_relevant]
        if unseen := [code for code in relevant if code not in seen]:
            tool = rows["face"]["face_tool"]
            codes = ", ".join(unseen)
            text = f"not measured by the face tool {tool} here: {codes}"
            if restless := [code for code in _by_rest(moment, "raised", "short") if code in unseen]:
                text += f"; for want of a face at rest: {', '.join(restless)}"
            yield Item(Kind.MISSING, "missing", "unseen_units", text, codes)
        if seen and not rules.decision.faces_camera(moment["head_pose"]):
            text = "no sure facial values: the head is turned or tilted too far"
            yield Item(Kind.MISSING, "missing", "turned_face", text)


def _at(time_s: float | None) -> str:
    return "" if time_s is None else f" at {time_s:.2f} s"


def _number(value: float | None, unit: str | None) -> str:
    return "" if value is None else f" ({' '.join(filter(None, (f'{value:g}', unit)))})"
