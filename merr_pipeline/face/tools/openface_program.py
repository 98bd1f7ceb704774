"""Which OpenFace is at hand to be run: its program on this machine, or a docker image with it.

OpenFace says no version, so each is known by its content: the sha256 of the program, the id of the
image. One program gives other numbers with other landmark models, so the files of its model folders
count too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from merr_pipeline.face.tools.environment import ONE_THREAD
from merr_pipeline.settings import OpenFaceSettings
from merr_pipeline.stage import digest

PROGRAM = "FeatureExtraction"
OUTPUTS = ("-aus", "-pose", "-gaze", "-2Dfp")  # without any of them it writes everything it can
NAME = "clip"  # of what it writes
MODEL_FOLDERS = ("model", "AU_predictors", "../etc/OpenFace")  # from the program's folder
DOCKER_LIMIT_S = 20.0  # to answer what image it has


@dataclass(frozen=True)
class Binary:
    """OpenFace on this machine."""

    path: Path  # absolute, without links: it looks for its models beside itself
    version: str
    models: str  # "" where they do not lie beside it
    is_container: ClassVar[bool] = False

    def command(self, clip: Path, out: Path, name: str) -> list[str]:
        """What writes ``clip.csv`` into ``out``; ``name`` is not needed here."""
        del name
        return [str(self.path), *_arguments(str(clip), str(out))]

    def __str__(self) -> str:
        return f"{PROGRAM} at {self.path}"


@dataclass(frozen=True)
class DockerImage:
    """OpenFace in an image that docker has here; nothing is pulled."""

    image: str
    program: PurePosixPath  # in the image
    version: str
    models: str = ""  # the image's id says it all
    is_container: ClassVar[bool] = True

    def command(self, clip: Path, out: Path, name: str) -> list[str]:
        """What writes ``clip.csv`` into ``out``; the container will be called ``name``.

        It sees this one clip, under a plain name, and ``out``; no network, no other user's rights,
        and no more memory than this process may take: a container does not inherit that limit.
        """
        inside = f"/clip/clip{clip.suffix}"
        limit_bytes, _ = resource.getrlimit(resource.RLIMIT_DATA)
        limit = [] if limit_bytes == resource.RLIM_INFINITY else ["--memory", str(limit_bytes)]
        return [
            *("docker", "run", "--rm", "--pull", "never", "--name", name),
            *("--network", "none", *limit),
            *("--user", f"{os.getuid()}:{os.getgid()}", "--workdir", str(self.program.parent)),
            *(word for each in sorted(ONE_THREAD.items()) for word in ("--env", "=".join(each))),
            *("--mount", _mount(clip, inside, "readonly"), "--mount", _mount(out, "/out")),
            *("--entrypoint", str(self.program), self.image),
            *_arguments(inside, "/out"),
        ]

    def __str__(self) -> str:
        return f"docker image {self.image}"


Program = Binary | DockerImage


def find_program(settings: OpenFaceSettings) -> Program | None:
    """What can be run: the binary before the docker image; None if neither is here."""
    return find_binary(settings) or find_image(settings)


def find_binary(settings: OpenFaceSettings) -> Binary | None:
    """The program that the settings name, else the one on PATH."""
    named = Path(settings.binary or PROGRAM).expanduser()
    found = shutil.which(named) or shutil.which(named.absolute())  # which() takes x for a name only
    if found is None:
        return None
    path = Path(found).resolve()
    try:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # it may be run and not read
        return None
    return Binary(path, f"{PROGRAM} sha256:{content[:16]}", _models_beside(path))


def find_image(settings: OpenFaceSettings) -> DockerImage | None:
    """The image that the settings name, if docker runs and has it."""
    image = settings.docker_image
    if image is None:
        return None
    try:
        done = subprocess.run(
            ["docker", "image", "inspect", "--format", "{{.Id}}", image],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOCKER_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    version = f"{image} {done.stdout.strip()[:23]}"  # "sha256:" and 16 digits
    program = PurePosixPath(settings.docker_program)
    return DockerImage(image, program, version)


def _models_beside(path: Path) -> str:
    """The names and sizes of the model files as a hash; their content would be 100 MB and more."""
    files = [
        (folder, file.relative_to(path.parent / folder).as_posix(), file.stat().st_size)
        for folder in MODEL_FOLDERS
        for file in sorted((path.parent / folder).rglob("*"))
        if file.is_file()
    ]
    return f"model files {digest(files)[:16]}" if files else ""


def _arguments(clip: str, out: str) -> list[str]:
    return ["-f", clip, "-out_dir", out, "-of", NAME, *OUTPUTS]


def _mount(source: Path, target: str, *flags: str) -> str:
    """A value for ``--mount``, which docker reads as one line of CSV."""
    line = io.StringIO()
    fields = ["type=bind", f"source={source}", f"target={target}", *flags]
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
