# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#   "av==18.1.0",
#   "matplotlib==3.10.7",
#   "mediapipe==0.10.21",
#   "numpy==1.26.4",
#   "opencv-contrib-python-headless==4.11.0.86",
#   "scikit-image==0.25.2",
#   "scipy==1.15.3",
# ]
#
# [tool.uv]
# # mediapipe asks for these; none is used here, and the GUI OpenCV overwrites the headless one.
# override-dependencies = [
#   "jax ; sys_platform == 'never'",
#   "jaxlib ; sys_platform == 'never'",
#   "opencv-contrib-python ; sys_platform == 'never'",
#   "sentencepiece ; sys_platform == 'never'",
#   "sounddevice ; sys_platform == 'never'",
# ]
# ///
"""Make the sample clips: two public-domain portraits, warped into known expressions.

    uv run --script data/samples/make_samples.py [--out FOLDER] [--only CLIP_ID]

A face mesh finds the landmarks of a portrait; a thin-plate spline moves some of them (mouth
corners, brows, lids, jaw) while the rest of the face, and all around it, stays where it is. How far
they move follows a raised cosine, so onset, apex and offset of each expression are known to the
frame. espeak-ng speaks the words, so text and times are known as well. What is known is written to
``truth/<clip_id>.json``.

The same versions of the programs give the same bytes. The committed files are the truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import cv2
from generator.clips import Clip, Movement, Speech
from generator.media import Caption, write_clip, write_srt
from generator.portraits import load_portraits
from generator.speech import make_sound, require_espeak
from generator.truth import write_manifest, write_truth
from generator.warp import Face, draw_frames

CLIPS = (
    Clip(
        clip_id="smile",
        portraits=("portrait_a",),
        expression="smile",
        action_units=("AU06", "AU12", "AU25"),
        label="happy",
        # close_lips -1 undoes the resting face, so the apex shows the teeth of the photograph.
        movement=Movement(
            {"pull_corners": 0.9, "drop_corners": -0.4, "close_lips": -1.0, "raise_cheeks": 0.4},
            onset_frame=28,
            apex_frame=46,
            offset_frame=66,
        ),
        speech=Speech(
            text="We won the first prize, what a lovely day!",
            language="en",
            voice="en-us+f3",
            words_per_minute=185,
            pitch=70,
            start_s=0.9,
            words_in="sidecar",
        ),
    ),
    Clip(
        clip_id="surprise",
        portraits=("portrait_b",),
        expression="raised brows and open jaw",
        action_units=("AU01", "AU02", "AU05", "AU25", "AU26"),
        label="surprise",
        movement=Movement(
            {"raise_brows": 0.8, "drop_jaw": 1.0, "widen_eyes": 0.8},
            onset_frame=32,
            apex_frame=48,
            offset_frame=66,
        ),
        speech=Speech(
            text="Oh! You were here all the time?",
            language="en",
            voice="en-gb+f2",
            words_per_minute=180,
            pitch=75,
            start_s=0.8,
            words_in="manifest",
        ),
    ),
    Clip(
        clip_id="anger_subtitled",
        portraits=("portrait_a",),
        expression="lowered brows and tight lids",
        action_units=("AU04", "AU07"),
        label="angry",
        movement=Movement(
            {"lower_brows": 1.0, "tighten_lids": 1.0},
            onset_frame=24,
            apex_frame=42,
            offset_frame=64,
        ),
        speech=Speech(
            text="No! I told you twice to keep that door shut.",
            language="en",
            voice="en-us+f3",
            words_per_minute=175,
            pitch=40,
            start_s=0.7,
            words_in="embedded",
        ),
    ),
    Clip(
        clip_id="sadness_silent",
        portraits=("portrait_b",),
        expression="lowered mouth corners and raised inner brows",
        action_units=("AU01", "AU15"),
        label="sad",
        movement=Movement(
            {"drop_corners": 1.0, "raise_inner_brows": 0.8},
            onset_frame=30,
            apex_frame=50,
            offset_frame=70,
        ),
        speech=None,
    ),
    Clip(
        clip_id="neutral",
        portraits=("portrait_b",),
        expression="neutral",
        action_units=(),
        label="neutral",
        movement=None,
        speech=Speech(
            text="Der Zug nach Hamburg fährt um zehn Uhr ab.",
            language="de",
            voice="de+f2",
            words_per_minute=150,
            pitch=50,
            start_s=0.6,
            words_in="manifest",
        ),
        frame_count=100,
    ),
    Clip(
        clip_id="blink_then_smile",
        portraits=("portrait_a",),
        expression="smile",
        action_units=("AU12", "AU25"),
        label="happy",
        movement=Movement(
            {"pull_corners": 0.65, "drop_corners": -0.3, "close_lips": -0.65},
            onset_frame=42,
            apex_frame=60,
            offset_frame=80,
        ),
        speech=Speech(
            text="Good morning, it is nice to see you again.",
            language="en",
            voice="en-us+f3",
            words_per_minute=165,
            pitch=60,
            start_s=1.3,
            words_in="nowhere",
        ),
        frame_count=100,
        blink=Movement({"close_eyes": 1.0}, onset_frame=17, apex_frame=21, offset_frame=26),
    ),
    Clip(
        clip_id="two_people_cut",
        portraits=("portrait_a", "portrait_b"),
        expression="smile",
        action_units=("AU06", "AU12"),
        label="happy",
        movement=Movement(
            {"pull_corners": 1.2, "raise_cheeks": 0.6},
            onset_frame=54,
            apex_frame=70,
            offset_frame=87,
        ),
        speech=Speech(
            text="And now over to you, with the good news.",
            language="en",
            voice="en-gb+f2",
            words_per_minute=180,
            pitch=55,
            start_s=1.7,
            words_in="manifest",
        ),
        frame_count=100,
        cut_frame=36,
    ),
    Clip(
        clip_id="unlabelled",
        portraits=("portrait_a",),
        expression="raised brows and open jaw",
        action_units=("AU01", "AU02", "AU25", "AU26"),
        label=None,
        movement=Movement(
            {"raise_brows": 0.8, "drop_jaw": 0.8, "pull_corners": -0.5},
            onset_frame=26,
            apex_frame=44,
            offset_frame=64,
        ),
        speech=Speech(
            text="我一直在等你。",
            language="zh",
            voice="cmn+f3",
            words_per_minute=200,
            pitch=50,
            start_s=0.8,
            words_in="manifest",
        ),
    ),
)


def make_clip(clip: Clip, faces: Mapping[str, Face], out: Path, seed: int) -> None:
    """Write the clip, its sidecar if it has one, and its truth.

    ``seed`` makes the clip's noise and the sway of its picture differ from the others'.
    """
    path = out / "clips" / f"{clip.clip_id}.mp4"
    frames = draw_frames(clip, faces, phase_rad=0.7 * seed)
    end_s = None
    if clip.speech is None:
        write_clip(path, frames, sound=None, caption=None)
    else:
        sound, end_s = make_sound(clip, clip.speech, seed)
        caption = Caption(clip.speech.text, clip.speech.start_s, round(end_s, 3))
        write_clip(path, frames, sound, caption if clip.speech.words_in == "embedded" else None)
        if clip.speech.words_in == "sidecar":
            write_srt(path.with_suffix(".srt"), caption)
    write_truth(out / "truth" / f"{clip.clip_id}.json", clip, end_s)
    print(f"{clip.clip_id}: {path.stat().st_size / 1000:.0f} kB")


def parse_arguments() -> argparse.Namespace:
    """``out``, the folder to write to, and ``only``, one clip_id or None for all clips."""
    parser = argparse.ArgumentParser(description="Make the sample clips.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="FOLDER")
    parser.add_argument("--only", choices=[clip.clip_id for clip in CLIPS])
    return parser.parse_args()


def main() -> None:
    """Make all clips, or one, and the manifest."""
    arguments = parse_arguments()
    out = arguments.out
    require_espeak()  # before the face mesh, which takes seconds to load
    cv2.setNumThreads(1)
    for folder in ("clips", "truth"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    portraits = load_portraits()
    faces = {name: Face(portrait) for name, portrait in portraits.items()}
    for seed, clip in enumerate(CLIPS):
        if arguments.only in (None, clip.clip_id):
            make_clip(clip, faces, out, seed)
    write_manifest(out / "manifest.csv", CLIPS, portraits)


if __name__ == "__main__":
    main()
