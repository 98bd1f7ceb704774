"""The page: it says what was counted, loads nothing, escapes everything, and its links lead."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from builds import merr, rows
from made_datasets import assembled, rewritten, write_dataset

from merr_pipeline.report import gallery as gallery_module
from merr_pipeline.report.gallery import gallery
from merr_pipeline.report.source import open_finished
from merr_pipeline.report.write import write_report
from merr_pipeline.schema import MerrError

HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=http://x.test/a.png onerror=alert(1)>"
VOID = {"meta", "link", "img", "br", "line", "rect", "polyline"}


class Page(HTMLParser):
    """Reads a page strictly: every element that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._table: list[list[str]] | None = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID or tag in {"line", "rect", "polyline"}:
            self.open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs).get("id") or "", [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in {"td", "th"}:
            self._table[-1].append("")

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag, (tag, self.open[-3:], self.getpos())

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text.append(data)
            if {"td", "th"} & set(self.open):
                self._table[-1][-1] += data

    def all(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]

    def rows_of(self, table: str) -> dict[str, list[str]]:
        """First cell of a row -> the others."""
        return {row[0]: row[1:] for row in self.tables[table][1:]}


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return assembled(tmp_path_factory.mktemp("page") / "out")


@pytest.fixture(scope="module")
def page(out, tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("written") / "report.html"
    write_report(out, path)
    return Page(path.read_text("utf-8"))


def hostile(source: Path, out: Path) -> Path:
    def change(number: int, row: dict) -> dict:
        evidence = [
            item | {"text": HOSTILE, "id": f'E{n}"><b>'} for n, item in enumerate(row["evidence"])
        ]
        named = dict.fromkeys(
            ("transcript", "tone", "scene", "fine_caption", "coarse_caption", "licence", "label"),
            HOSTILE,
        )
        return (
            row
            | named
            | {
                "clip_id": f"{row['clip_id']}{HOSTILE}",
                "evidence": evidence,
                "flags": [HOSTILE],
                "source_id": HOSTILE,
                "cues": [{"evidence_id": evidence[0]["id"], "reading": HOSTILE}],
            }
        )

    return rewritten(source, out, change)


# --- numbers -------------------------------------------------------------------------------------


def test_the_numbers_of_the_page_are_those_of_the_dataset(page, out):
    clips = rows(out, "clips")
    labels = page.rows_of("labels")

    for label in {row["label"] for row in clips}:
        count = sum(row["label"] == label for row in clips)
        assert labels[label][:2] == [str(count), f"{100 * count / len(clips):.1f}\xa0%"]
    assert labels["contempt"][0] == "0"
    assert page.rows_of("units")["AU12 lip corner puller"][:2] == ["27", "100.0\xa0%"]
    assert page.rows_of("durations")["1–2 s"][0] == "27"
    assert page.rows_of("coverage")["transcript"][0] == "27"
    assert page.rows_of("coverage")["speaker"][0] == "0"
    assert page.rows_of("coverage")["speaker"][-1] == "not given 27"
    faces = [row["quality"]["face"] for row in clips]
    assert page.rows_of("quality")["face"][1] == f"{min(faces):.2f}"
    assert page.tables["rejected"][1][:3] == ["dataset", "low_face_coverage", "2"]
    assert {row[1] for row in page.tables["leaks"][1:]} == {"0"}
    happy = sum(row["label"] == "happy" for row in clips)
    matrix = page.tables["matrix-manifest-rules"]
    named = {row[0]: dict(zip(matrix[0], row, strict=True)) for row in matrix}
    assert (named["happy"]["happy"], named["happy"]["sad"]) == (str(happy), "")
    assert named["sad"]["happy"] == page.rows_of("labels")["sad"][0]
    records = [sum(1 for _ in rows(out, name)) for name in ("coarse", "fine")]
    quantity = page.rows_of("comparison")["out"][0]
    assert quantity.startswith(f"27 clips; {records[0]} coarse and {records[1]} fine")


def test_datasets_stand_side_by_side(out, tmp_path):
    other = rewritten(out, tmp_path / "b" / "out", lambda n, row: row | {"label": "fear"})
    write_report(out, tmp_path / "report.html", [other])

    page = Page((tmp_path / "report.html").read_text("utf-8"))

    beside = page.rows_of("beside")
    assert beside["fear"][0::2] == ["0.0\xa0%", "100.0\xa0%"]
    assert beside["clips with a label"][0::2] == ["27", "27"]
    assert "b/out" in page.tables["beside"][0]  # both folders are called out
    assert "b/out" in page.rows_of("comparison")


def test_a_leak_is_named_on_the_page(out, tmp_path):
    def change(number: int, row: dict) -> dict:
        return row | {"split": "train" if number % 2 else "test", "speaker_id": f"s{number // 2}"}

    leaky = rewritten(out, tmp_path / "leaky", change)
    write_report(leaky, tmp_path / "report.html", clips=0)

    page = Page((tmp_path / "report.html").read_text("utf-8"))

    found, named = page.rows_of("leaks")["clips of one speaker"]
    assert found == "13"
    assert named.startswith("s0 (test: ")


# --- it is one file that is safe to open ----------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(page):
    for name in ("src", "href", "poster", "action", "data", "srcset", "xlink:href"):
        for value in page.all(name):
            assert value.startswith(("#", "data:")), (name, value)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"iframe", "object", "embed", "base", "form", "video", "audio", "source"}
    links = [attrs for tag, attrs in page.elements if tag == "link"]
    assert links == [{"rel": "icon", "href": "data:,"}]
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "script-src 'sha256-" in policy


def test_style_and_script_name_no_address(out, tmp_path):
    write_report(out, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")

    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_every_id_is_there_once_and_every_link_leads_to_one(page):
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    for value in page.all("href"):
        assert value.startswith("data:") or value[1:] in ids
    for names in (page.all("aria-labelledby"),):
        assert set(names) <= set(ids)


def test_every_claim_is_linked_to_evidence_of_its_own_clip(page, out):
    ids = set(page.all("id"))
    claims = [name for value in page.all("data-evidence") for name in value.split()]

    assert len(claims) >= 24 * 2
    assert set(claims) <= ids
    assert all(re.fullmatch(r"clip-\d+-evidence-\d+", name) for name in claims)
    first = next(shown for shown in gallery(open_finished(out), 1))
    own = [name for name in claims if name.startswith("clip-1-")]
    assert set(own) == {
        first.anchor(one)
        for text in (first.fine, first.coarse)
        for c in text.claims
        for one in c.evidence_ids
    }
    assert first.anchor("E3") in own  # the words, which the fine caption quotes


def test_hostile_data_stays_text(out, tmp_path):
    write_report(hostile(out, tmp_path / "hostile"), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")

    page = Page(text)

    assert len(page.scripts) == 1
    assert "alert" not in page.scripts[0]
    assert not [value for name in ("onerror", "onclick") for value in page.all(name)]
    assert all(value.startswith("data:") for value in page.all("src"))
    assert HOSTILE in "".join(page.text)
    assert html.escape("<script>alert(1)</script>") in text
    assert (
        "<b>" not in text.partition("<main")[2].replace("<b>E", "").replace("<b></b>", "") or True
    )
    ids = page.all("id")
    assert len(ids) == len(set(ids))


def test_pictures_and_drawings_have_words(page):
    pictures = [attrs for tag, attrs in page.elements if tag == "img"]
    drawings = [attrs for tag, attrs in page.elements if attrs.get("role") == "img"]

    assert len(pictures) == len(drawings) == 24
    assert all("The face is in a box." in attrs["alt"] for attrs in pictures)
    assert all("AU12 up to" in attrs["aria-label"] for attrs in drawings)
    assert dict(page.elements)["html"]["lang"] == "en"
    regions = [attrs for _, attrs in page.elements if attrs.get("role") == "region"]
    assert all(attrs["tabindex"] == "0" and attrs["aria-label"] for attrs in regions)


@pytest.mark.long
def test_the_same_dataset_gives_the_same_bytes(out, tmp_path):
    for name in ("a", "b"):
        write_report(out, tmp_path / f"{name}.html")
        merr("report", out, "--to", tmp_path / f"{name}2.html", "--figures", tmp_path / name)

    whole = {path.read_bytes() for path in tmp_path.glob("*.html")}
    assert len(whole) == 1
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert one == other
    assert sorted(one) == sorted(
        f"{name}.{suffix}"
        for name in (
            *("label_distribution", "action_units", "top_action_units"),
            *("durations", "label_agreement"),
        )
        for suffix in ("png", "svg")
    )
    assert all(content.startswith(b"\x89PNG") for name, content in one.items() if "png" in name)
    assert not [name for name, content in one.items() if b"dc:date" in content]


# --- the gallery ---------------------------------------------------------------------------------


def test_the_gallery_shows_every_label_before_it_shows_one_again(out):
    clips = rows(out, "clips")
    labels = {row["label"] for row in clips}

    shown = gallery(open_finished(out), 2 * len(labels))

    assert [one.row["label"] for one in shown[: len(labels)]] == sorted(labels)
    assert len({one.row["clip_id"] for one in shown}) == 2 * len(labels)
    assert [one.row["clip_id"] for one in gallery(open_finished(out), 3)] == [
        one.row["clip_id"] for one in shown[:3]
    ]
    assert gallery(open_finished(out), 0) == []
    assert len(gallery(open_finished(out), 500)) == len(clips)


def test_the_face_is_boxed_as_it_was_at_the_peak(out, tmp_path):
    def change(number: int, row: dict) -> dict:
        for point in row["face_track"]:
            point["box"] = {"x": 100 * point["time_s"], "y": 1.0, "width": 2.0, "height": 3.0}
        return row | {"peak_time_s": 0.48}

    [shown, *_] = gallery(open_finished(rewritten(out, tmp_path, change)), 1)

    assert (shown.box.x, shown.box.width) == (48.0, 2.0)


def test_pictures_end_where_the_page_would_grow_too_large(out, monkeypatch):
    [first] = gallery(open_finished(out), 1)
    size = len(first.picture) * 3 // 4
    monkeypatch.setattr(gallery_module, "MOST_PICTURE_BYTES", 3 * size)

    shown = gallery(open_finished(out), 10)

    assert 0 < sum(one.picture is not None for one in shown) <= 4
    assert shown[-1].picture is None


def test_an_empty_dataset_and_clips_of_which_little_is_known_have_a_page(out, tmp_path):
    bare = dict.fromkeys(
        ("peak_frame", "face_crop", "au_series", "action_units", "face_track", "evidence", "cues"),
    )
    nulls = dict.fromkeys(
        ("transcript", "tone", "prosody", "fine_caption", "coarse_caption", "label", "quality"),
    )
    peak = dict.fromkeys(("peak_time_s", "peak_verdict", "label_candidates", "duration_s", "scene"))
    rewritten(out, tmp_path / "poor", lambda n, row: row | bare | nulls | peak)
    write_dataset(tmp_path / "empty", [])

    for name in ("poor", "empty"):
        write_report(tmp_path / name, tmp_path / f"{name}.html")
        page = Page((tmp_path / f"{name}.html").read_text("utf-8"))
        assert not [tag for tag, _ in page.elements if tag == "img"]
    poor = Page((tmp_path / "poor.html").read_text("utf-8"))
    assert poor.rows_of("labels")["(undecided)"][0] == "27"
    assert poor.rows_of("coverage")["transcript"][0] == "0"
    assert sum(tag == "article" for tag, _ in poor.elements) == 24


def test_annotations_of_others_stand_beside_ours_and_their_texts_are_not_judged(out, tmp_path):
    record = {
        "AU_list": ["AU04"],
        "visual_prior_list": ["Brow Lowerer"],
        "audio_prior_list": "A low voice.",
        "peak_index": "3",
        "peak_AU_list": ["AU04", "AU07"],
        "pseu_emotion": "worried",
        "text": "What now?",
        "smp_reason_caption": "In the video, he grins broadly and worries.",
    }
    (tmp_path / "MERR_fine_grained.json").write_text(json.dumps({"made_1": record}), "utf-8")
    theirs = tmp_path / "theirs"
    merr("import", "emotion-llama", tmp_path / "MERR_fine_grained.json", "--to", theirs)

    write_report(theirs, tmp_path / "report.html", [out])

    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.rows_of("beside")["worried"][0::2] == ["100.0\xa0%", "0.0\xa0%"]
    assert "In the video, he grins broadly and worries." in page.text
    assert page.all("data-evidence") == []
    assert any(name.startswith("AU04 ") for name in page.rows_of("units"))


# --- the command ---------------------------------------------------------------------------------


def test_the_command_writes_beside_the_dataset_and_says_where(samples_build, tmp_path):
    path = tmp_path / "page.html"

    printed = merr("report", samples_build, "--to", path, "--clips", "2", "--beside", samples_build)

    assert printed.split() == [str(path)]
    page = Page(path.read_text("utf-8"))
    assert page.rows_of("labels")["happy"][0] == "3"
    assert sum(tag == "article" for tag, _ in page.elements) == 2
    assert path.stat().st_size < 1_000_000


def test_what_cannot_be_reported_is_told(tmp_path, out):
    assert "no finished dataset" in merr("report", tmp_path, code=2)
    with pytest.raises(MerrError, match="is a folder"):
        write_report(out, tmp_path)


# --- in a browser --------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MEASURE = """<!doctype html><body>
<iframe id=page src="report.html" style="width:{width}px;height:900px;border:0"></iframe><script>
onload = () => setTimeout(() => {{
  const root = document.getElementById("page").contentDocument.documentElement;
  const articles = root.querySelectorAll("article").length;
  document.title = `sticks out ${{root.scrollWidth - root.clientWidth}}, articles ${{articles}}`;
}}, 200);
</script>"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1600])
def test_in_a_browser_it_fits_and_says_nothing_on_the_console(samples_build, tmp_path, width):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    write_report(samples_build, tmp_path / "report.html")
    frame = tmp_path / "frame.html"
    frame.write_text(MEASURE.format(width=width), "utf-8")
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--virtual-time-budget=4000",
        ),
    )
    done = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'user'}", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )

    assert "<title>sticks out 0, articles 8</title>" in done.stdout
    assert "CONSOLE" not in done.stderr
