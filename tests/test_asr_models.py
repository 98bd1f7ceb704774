"""Which model is taken, where it must lie, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from merr_pipeline import doctor
from merr_pipeline.doctor import check_ready, examine
from merr_pipeline.schema import MerrError
from merr_pipeline.settings import AsrSettings, Settings, load_settings
from merr_pipeline.speech.asr import models
from merr_pipeline.speech.asr.backends import compute_type
from merr_pipeline.speech.asr.contract import AsrError
from merr_pipeline.speech.asr.models import KINDS, content_hash, find_model, model_name
from merr_pipeline.speech.transcript import TranscriptStage

FASTER = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json")


@pytest.fixture
def at_hand(monkeypatch):
    """As if the package of every backend were installed."""
    monkeypatch.setattr(models, "find_spec", lambda module: module)


@pytest.fixture
def folder(tmp_path) -> Path:
    model = tmp_path / "my-whisper"
    model.mkdir()
    for name in FASTER:
        (model / name).write_text(f"{{}} {name}")
    return model


@pytest.mark.parametrize("backend", KINDS)
def test_a_missing_package_is_named_with_the_command_that_gets_it(backend, monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda module: None)

    with pytest.raises(AsrError, match=rf"uv pip install -e '\.\[{KINDS[backend].extra}\]'"):
        find_model(AsrSettings(backend=backend))


def test_a_folder_with_all_files_is_the_model(at_hand, folder):
    assert find_model(AsrSettings(model=str(folder))) == folder
    assert model_name(AsrSettings(model=str(folder))) == "my-whisper"


@pytest.mark.parametrize("name", FASTER)
def test_a_file_that_is_not_in_the_folder_is_named(at_hand, folder, name):
    (folder / name).unlink()

    with pytest.raises(AsrError, match=rf"my-whisper lacks {name}.*transcript\.asr\.model=PATH"):
        find_model(AsrSettings(model=str(folder)))


@pytest.mark.parametrize("model", ["/no/such/folder", "./none", "a/b/c", "none.pt"])
def test_a_path_that_is_not_there_is_not_looked_for_on_a_hub(at_hand, model):
    with pytest.raises(AsrError, match=r"is not there\. Give"):
        find_model(AsrSettings(model=model), fetch=True)


def test_the_hash_of_a_model_tells_names_and_contents_and_not_its_place(folder, tmp_path):
    first = content_hash(folder)

    moved = folder.rename(tmp_path / "moved")
    (moved / ".cache").mkdir()
    (moved / ".cache" / "note").write_text("of a download")
    (moved / "README.md").write_text("a card")
    assert content_hash(moved) == first
    (moved / "config.json").write_text("{} changed")
    assert content_hash(moved) != first


def test_large_files_are_told_apart_by_samples_and_size(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "WHOLE_UP_TO", 1 << 10)
    monkeypatch.setattr(models, "SAMPLE_BYTES", 1 << 8)
    contents = [bytes(1 << 20), bytes((1 << 20) + 1), bytes((1 << 20) - 1) + b"1"]
    hashes = set()
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(content)
        hashes.add(models._hash_once(path, len(content), 0))

    assert len(hashes) == 3


def with_asr(model: str, **asr) -> Settings:
    settings = load_settings("local", environment={})
    own = settings.transcript.asr.model_copy(update={"model": model, **asr})
    words = settings.transcript.model_copy(update={"asr": own})
    return settings.model_copy(update={"transcript": words})


def test_a_build_without_its_model_does_not_start_and_says_what_to_put_where(
    at_hand, monkeypatch, tmp_path
):
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.0")

    with pytest.raises(MerrError, match=r"speech recognition by faster-whisper is missing: .*Give"):
        check_ready(with_asr(str(tmp_path / "none")))


def test_doctor_lists_the_model_and_a_gpu_only_where_one_is_asked_for(at_hand, folder, monkeypatch):
    monkeypatch.setattr(doctor, "visible_gpus", list)
    on_cpu = {need.what: need for need in examine(with_asr(str(folder)))}
    on_gpu = {need.what: need for need in examine(with_asr(str(folder), device="cuda"))}

    assert str(folder) in on_cpu["speech recognition by faster-whisper"].found
    assert on_cpu["speech recognition by faster-whisper"].needed
    assert "GPU" not in on_cpu
    assert (on_gpu["GPU"].needed, on_gpu["GPU"].found) == (True, None)


def test_the_identity_holds_what_shapes_the_words_and_no_path(at_hand, folder, tmp_path):
    def identity(**asr):
        return TranscriptStage(with_asr(str(folder), **asr)).identity()

    first = identity()
    assert first.tool == "subtitles, faster-whisper"
    assert (first.model, first.revision) == ("my-whisper", content_hash(folder))
    assert str(tmp_path) not in repr(first)
    others = [
        identity(beam_size=1),
        identity(language="zh"),
        identity(compute_type="float32"),
        identity(device="cuda"),
        identity(batch_size=2),
        identity(word_times=False),
    ]
    assert len({one.fingerprint() for one in [first, *others]}) == 7
    assert identity(batch_size=2) == identity(batch_size=16)


def test_every_backend_and_device_has_its_usual_numbers():
    for backend in KINDS:
        for device in ("cpu", "cuda"):
            assert compute_type(AsrSettings(backend=backend, device=device))
    assert compute_type(AsrSettings(compute_type="float32")) == "float32"


@pytest.mark.parametrize("backend", ["openai-whisper", "transformers"])
def test_int8_is_for_faster_whisper_alone(backend):
    with pytest.raises(ValueError, match="int8 is for faster-whisper"):
        AsrSettings(backend=backend, compute_type="int8")


@pytest.mark.extras
@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("faster-whisper", "small"),
        ("faster-whisper", "no-such-size"),
        ("openai-whisper", "small"),
        ("transformers", "openai/whisper-small"),
    ],
)
def test_offline_a_name_that_is_not_cached_ends_at_once(backend, name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)

    for fetch in (False, True):
        with pytest.raises(AsrError, match=rf"{name} .*Give {backend}"):
            find_model(AsrSettings(backend=backend, model=name), fetch=fetch)


def no_network(*_, **__):
    raise OSError("no network")
