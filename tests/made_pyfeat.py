"""A clip of blobs and weights that take a blob for a face: all that the real py-feat needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import cv2
import numpy as np

from merr_pipeline.face.tools import environment

FACES = [
    *[[(128, 128)]] * 3, [(144, 128)], [],
    [(144, 128)], [(144, 128), (256, 96)], [(256, 96), (144, 128)],  # the cut comes after it
    [(144, 128)], [], [], [(80, 160)],
]  # fmt: skip
"""Where the faces of each frame are: middles, pixels."""
CUT, TIMES_MS = 8, [0, 40, 80, 120, 160, 240, 280, 320, 360, 400, 440, 520]


def make_pyfeat(folder: Path) -> Path:
    """Install py-feat and put into the folder what it is tried on.

    That is ``clip.mkv``, ``weights/``, and in there ``v1.csv`` and ``v2.csv``: what py-feat itself
    says of the frames as files.
    """
    environment.install("pyfeat")
    names = [str(folder / f"{index:02}.png") for index in range(len(FACES))]
    with av.open(folder / "clip.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=1000, pix_fmt="bgr0")
        stream.width, stream.height = 320, 240
        for index, name in enumerate(names):
            cv2.imwrite(name, picture(index))
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            frame.pts = TIMES_MS[index]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    uv, program = environment.find_uv_bin(), str(environment.PROGRAMS["pyfeat"])
    where = subprocess.run(
        [uv, "python", "find", "--script", program], capture_output=True, check=True, text=True
    )
    script = Path(__file__).with_name("made_pyfeat_weights.py")
    subprocess.run(
        [where.stdout.strip(), str(script), str(folder / "weights"), *names],
        env=environment.environment(), check=True,
    )  # fmt: skip
    return folder


def picture(index: int) -> np.ndarray:
    """Blobs that the made detector takes for faces, on another ground after the cut."""
    y, x = np.mgrid[:240, :320]
    ground = 20 + 12 * np.sin(x / 9) if index < CUT else 90 + 50 * np.cos(y / 7)
    for cx, cy in FACES[index]:
        ground = np.maximum(ground, 240 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 800))
    return np.repeat(np.clip(ground, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
