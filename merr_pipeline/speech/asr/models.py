"""Which package and which model files a backend needs, where they are, and how to get them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from merr_pipeline.settings import AsrSettings
from merr_pipeline.speech.asr.contract import AsrError

WHOLE_UP_TO = 16 << 20  # bytes; of a larger file some samples are hashed
SAMPLES, SAMPLE_BYTES = 64, 1 << 16


@dataclass(frozen=True)
class Kind:
    """What one backend needs; ``cached`` finds or fetches a model by its name."""

    module: str
    packages: tuple[str, ...]  # whose versions shape the words
    extra: str
    files: tuple[tuple[str, ...], ...]  # patterns; a folder needs one file of each row
    names: str  # examples of names that it knows
    named: Callable[[str, bool], Path]  # name, may fetch


def require(settings: AsrSettings) -> Kind:
    """What the backend of these settings needs, once its package is there.

    Raises:
        AsrError: the package is not installed.
    """
    kind = KINDS[settings.backend]
    if find_spec(kind.module) is None:
        raise AsrError(
            f"transcript.asr.backend={settings.backend} needs a package that is not installed: "
            f"uv pip install -e '.[{kind.extra}]' -c constraints.txt "
            f"(or pip install 'merr-pipeline[{kind.extra}]')"
        )
    return kind


def find_model(settings: AsrSettings, *, fetch: bool = False) -> Path:
    """Where the model lies: the path in the settings, or a name in the backend's cache.

    ``fetch`` allows to download what a name means; nothing else here touches a network.

    Raises:
        AsrError: package or model are missing; it says what to put where.
    """
    kind = require(settings)
    path = Path(settings.model).expanduser()
    if path.exists():
        return _whole(path, settings, kind)
    if _looks_like_a_path(settings.model):
        raise AsrError(f"transcript.asr.model: {path} is not there. {_what_to_put(settings, kind)}")
    try:
        return _whole(kind.named(settings.model, fetch), settings, kind)
    except AsrError:
        raise
    except Exception as error:  # each hub has errors of its own
        why = "could not be fetched" if fetch else "is not in the cache on this machine"
        cause = f" ({type(error).__name__}: {_first_line(error)})" if fetch else ""
        raise AsrError(
            f"transcript.asr.model: {settings.model} {why}{cause}. {_what_to_put(settings, kind)}"
        ) from error


def versions(settings: AsrSettings) -> str:
    """``faster-whisper 1.2.1, ctranslate2 4.8.5``: the packages that make the words."""
    return ", ".join(f"{name} {_version(name)}" for name in KINDS[settings.backend].packages)


def model_name(settings: AsrSettings) -> str:
    """How a model is called in provenance: no folder of this machine."""
    path = Path(settings.model).expanduser()
    return path.name if path.exists() else settings.model


def content_hash(model: Path) -> str:
    """A hash of the names and contents of the model's files, of large ones by samples.

    It is asked for at the start of each process, and a model may have gigabytes.
    """
    files = [model] if model.is_file() else sorted(_files(model))
    whole = hashlib.sha256()
    for file in files:
        stat = file.stat()
        name = file.name if model.is_file() else file.relative_to(model).as_posix()
        whole.update(f"{name} {_hash_once(file, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix != ".md":
            yield path


@lru_cache
def _hash_once(file: Path, size: int, changed_ns: int) -> str:
    del changed_ns  # it tells a file that was exchanged
    with file.open("rb") as content:
        if size <= WHOLE_UP_TO:
            return hashlib.file_digest(content, "sha256").hexdigest()
        return _hash_of_samples(content, size)


def _hash_of_samples(content: IO[bytes], size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    for number in range(SAMPLES):
        content.seek((size - SAMPLE_BYTES) * number // (SAMPLES - 1))
        digest.update(content.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _whole(path: Path, settings: AsrSettings, kind: Kind) -> Path:
    """The path, if what must lie there does.

    Raises:
        AsrError: it is no folder of such a model, or no file.
    """
    if not kind.files:
        if path.is_file():
            return path
        raise AsrError(f"transcript.asr.model: {path} is no file. {_what_to_put(settings, kind)}")
    missing = [row[0] for row in kind.files if not any(any(path.glob(p)) for p in row)]
    if missing:
        raise AsrError(
            f"transcript.asr.model: {path} lacks {', '.join(missing)}. "
            f"{_what_to_put(settings, kind)}"
        )
    return path


def _what_to_put(settings: AsrSettings, kind: Kind) -> str:
    wanted = (
        f"a folder with {', '.join(row[0] for row in kind.files)}" if kind.files else "a .pt file"
    )
    return (
        f"Give {settings.backend} {wanted} with --set transcript.asr.model=PATH; or where there "
        f"is a network a name that it knows ({kind.names}), which is fetched before the build "
        "starts."
    )


def _looks_like_a_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or model.endswith(".pt") or model.count("/") > 1


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _named_faster(name: str, fetch: bool) -> Path:
    from faster_whisper.utils import download_model

    return Path(download_model(name, local_files_only=not fetch))


def _named_transformers(name: str, fetch: bool) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
    return Path(snapshot_download(name, local_files_only=not fetch, allow_patterns=patterns))


def _named_openai(name: str, fetch: bool) -> Path:
    import whisper

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "whisper"
    file = cache / Path(whisper._MODELS[name]).name
    if not file.is_file() and fetch:
        whisper._download(whisper._MODELS[name], str(cache), False)
    if not file.is_file():
        raise FileNotFoundError(file)
    return file


KINDS = {
    "faster-whisper": Kind(
        module="faster_whisper",
        packages=("faster-whisper", "ctranslate2"),
        extra="asr",
        files=(
            ("model.bin",),
            ("config.json",),
            ("tokenizer.json",),
            ("vocabulary.json", "vocabulary.txt"),
        ),
        names="small, large-v3, Systran/faster-whisper-large-v3",
        named=_named_faster,
    ),
    "openai-whisper": Kind(
        module="whisper",
        packages=("openai-whisper", "torch"),
        extra="whisper",
        files=(),
        names="small, large-v3",
        named=_named_openai,
    ),
    "transformers": Kind(
        module="transformers",
        packages=("transformers", "torch"),
        extra="hf",
        files=(
            ("config.json",),
            ("model.safetensors", "*.safetensors", "*.bin"),
            ("preprocessor_config.json", "processor_config.json"),
            ("tokenizer.json", "vocab.json"),
        ),
        names="openai/whisper-large-v3, Qwen/Qwen3-ASR-1.7B-hf",
        named=_named_transformers,
    ),
}
"""By the names that ``transcript.asr.backend`` takes."""
