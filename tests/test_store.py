import os
import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merr_pipeline.schema import ROW_HEAD, MerrError
from merr_pipeline.store import Store

SCHEMA = pa.schema([*ROW_HEAD, pa.field("value", pa.float64()), pa.field("jpeg", pa.binary())])


def open_store(folder, schema=SCHEMA):
    store = Store(folder, {"probe": schema})
    store.refresh()
    return store


def row(key, *, row_hash="0", status="ok", reason=None, value=1.5, **more):
    return {
        "clip_id": f"clip of {key}",
        "input_key": key,
        "row_hash": row_hash,
        "status": status,
        "reason": reason,
        "detail": None,
        "value": value,
        **more,
    }


def read(store, key, columns=None):
    return store.read("probe", [store.find("probe", key)], columns)[0]


def test_what_was_written_is_read_back_as_write_returned_it(tmp_path):
    written = open_store(tmp_path).write(
        "probe", [row("a", value=0.125, jpeg=b"\xff\xd8"), row("b")]
    )

    store = open_store(tmp_path)

    assert read(store, "a") == written[0] == row("a", value=0.125, jpeg=b"\xff\xd8")
    assert read(store, "b") == written[1] == row("b", jpeg=None)
    assert read(store, "a", ["value"]) == {"value": 0.125}


def test_rows_come_in_the_order_asked_for_from_many_parts(tmp_path):
    store = open_store(tmp_path)
    for number in range(6):
        store.write("probe", [row(f"{number}{half}", value=number) for half in "ab"])
    store.refresh()
    keys = ["5a", "0b", "3a", "0a", "5b"]

    rows = store.read("probe", [store.find("probe", key) for key in keys])

    assert [r["input_key"] for r in rows] == keys


def test_a_column_that_the_stage_does_not_have_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="stage probe has no column valeu"):
        open_store(tmp_path).write("probe", [row("a") | {"valeu": 1}])


def test_a_pipe_with_the_name_of_a_part_is_damage_and_not_waited_for(tmp_path):
    (tmp_path / "probe").mkdir()
    pipe = tmp_path / "probe" / f"part-{'0' * 32}.parquet"
    os.mkfifo(pipe)

    store = open_store(tmp_path)

    assert store.damaged == [pipe]


@pytest.mark.parametrize("harm", ["torn", "altered", "foreign"])
def test_a_damaged_part_is_told_of_and_its_rows_are_gone(tmp_path, harm):
    store = open_store(tmp_path)
    store.write("probe", [row("good")])
    (good,) = tmp_path.glob("probe/part-*")
    store.write("probe", [row("bad")])
    (bad,) = set(tmp_path.glob("probe/part-*")) - {good}
    content = bad.read_bytes()
    if harm == "torn":
        bad.write_bytes(content[:-100])
    elif harm == "altered":
        bad.write_bytes(content[:20] + b"?" + content[21:])
    else:
        bad.write_text("no parquet at all")

    store = open_store(tmp_path)

    assert store.damaged == [bad]
    assert store.find("probe", "bad") is None
    assert read(store, "good")["value"] == 1.5


@pytest.mark.parametrize("harm", [Path.unlink, lambda part: part.write_bytes(b"torn")])
def test_a_part_that_goes_while_the_store_is_open_is_told_of_with_what_to_do(tmp_path, harm):
    open_store(tmp_path).write("probe", [row("a")])
    store = open_store(tmp_path)
    (part,) = tmp_path.glob("probe/part-*")
    harm(part)

    with pytest.raises(MerrError, match="damaged or taken away while the build ran"):
        read(store, "a")


def test_a_part_made_again_under_the_name_of_the_damaged_one_is_found(tmp_path):
    store = open_store(tmp_path)
    store.write("probe", [row("a")])
    (part,) = tmp_path.glob("probe/part-*")
    part.write_bytes(b"torn")
    store.refresh()
    assert store.find("probe", "a") is None

    store.write("probe", [row("a")])
    store.refresh()

    assert store.damaged == [part]
    assert read(store, "a")["value"] == 1.5


def test_parts_of_another_schema_are_passed_over(tmp_path):
    old = pa.schema([*ROW_HEAD, pa.field("value", pa.string())])
    open_store(tmp_path, old).write("probe", [row("a", value="old")])

    store = open_store(tmp_path)

    assert store.find("probe", "a") is None
    assert store.damaged == []


def test_a_leftover_of_a_killed_write_is_no_part(tmp_path):
    store = open_store(tmp_path)
    store.write("probe", [row("a")])
    (part,) = tmp_path.glob("probe/part-*")
    (part.parent / f".tmp-x-{part.name}").write_bytes(part.read_bytes()[:50])

    store = open_store(tmp_path)

    assert store.damaged == []
    assert read(store, "a")["value"] == 1.5


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from("abc"),
        row_hash=st.sampled_from("123"),
        status=st.sampled_from(["ok", "failed", "skipped"]),
        reason=st.sampled_from(["tool_timeout", "no_face"]),
    ),
    max_size=12,
)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_best_row_of_a_key_does_not_depend_on_the_order_of_writing(
    tmp_path_factory, rows, order: random.Random
):
    def best(rows):
        folder = tmp_path_factory.mktemp("store")
        for one in rows:
            Store(folder, {"probe": SCHEMA}).write("probe", [one])
        store = open_store(folder)
        entries = {key: store.find("probe", key) for key in "abc"}
        return {key: (e.status, e.row_hash) for key, e in entries.items() if e}

    shuffled = rows.copy()
    order.shuffle(shuffled)

    found = best(rows)

    assert found == best(shuffled)
    for key, (status, row_hash) in found.items():
        same = [r for r in rows if r["input_key"] == key]
        order_of = ["ok", "skipped", "failed"].index
        assert order_of(status) == min(order_of(r["status"]) for r in same)
        alike = [r for r in same if r["status"] == status]
        final = [r for r in alike if status != "failed" or r["reason"] == "no_face"] or alike
        assert row_hash == min(r["row_hash"] for r in final)
