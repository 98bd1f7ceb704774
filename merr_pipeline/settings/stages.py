"""Settings of the stages, from ``probe`` to ``fine``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from merr_pipeline.settings.section import Section


class ProbeSettings(Section):
    """What is accepted as a clip, and when two frames are two shots (``probe``)."""

    max_duration_s: float = Field(600.0, gt=0, description="Longer media is refused.")
    min_side_px: int = Field(32, ge=1, description="A shorter side is refused.")
    max_pixels: int = Field(7680 * 4320, ge=1, description="More pixels a frame are refused.")
    cut_ratio: float = Field(
        3.0, gt=1, description="A cut changes this many times more than the frames around it."
    )
    cut_min_change: float = Field(
        0.03,
        ge=0,
        le=1,
        description="Luma difference times lost likeness (0..1) under which nothing is a cut.",
    )
    min_shot_s: float = Field(0.2, ge=0, description="Cuts nearer to each other are one.")
    max_fade_s: float = Field(0.8, ge=0, description="A longer dissolve or fade is not looked for.")


class VoiceSettings(Section):
    """Voice activity and pitch search (``voice``)."""

    vad_on: float = Field(0.5, ge=0, le=1, description="Speech begins at this probability.")
    vad_off: float = Field(0.35, ge=0, le=1, description="Speech ends below this probability.")
    min_speech_s: float = Field(0.1, ge=0, description="Shorter bursts are no speech.")
    bridge_gap_s: float = Field(0.2, ge=0, description="Shorter gaps do not break speech.")
    min_pause_s: float = Field(0.25, ge=0, description="A gap of this length is a pause.")
    pitch_floor_hz: float = Field(75.0, gt=0, description="Lowest pitch searched.")
    pitch_ceiling_hz: float = Field(600.0, gt=0, description="Highest pitch searched.")
    low_snr_db: float = Field(10.0, description="Under it the background is called strong.")
    egemaps: bool = Field(
        False,
        description="Also keep the 88 functionals of eGeMAPSv02. They need the extra egemaps, "
        "openSMILE, whose licence forbids commercial use.",
    )

    @model_validator(mode="after")
    def _ends_in_order(self) -> VoiceSettings:
        if self.vad_off > self.vad_on or self.pitch_floor_hz >= self.pitch_ceiling_hz:
            raise ValueError("vad_off must be <= vad_on, pitch_floor_hz < pitch_ceiling_hz")
        return self


class AsrSettings(Section):
    """Speech recognition (``transcript.asr``), where ``transcript.sources`` ends with ``asr``."""

    backend: Literal["faster-whisper", "openai-whisper", "transformers"] = Field(
        "faster-whisper", description="The program that runs the model."
    )
    model: str = Field(
        "small",
        description="Folder or file of the model, or a name that the backend knows; a name is "
        "looked for in its cache, and fetched before the build starts where there is a network.",
    )
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="Where the model runs; cuda gives each GPU one worker."
    )
    compute_type: Literal["int8", "int8_float16", "float16", "bfloat16", "float32"] | None = Field(
        None,
        description="Numbers that the model counts with; null takes the backend's usual ones. "
        "The int8 kinds are for faster-whisper alone.",
    )
    language: str | None = Field(
        None, description="Language of clips whose manifest names none; null finds it out."
    )
    beam_size: int = Field(5, ge=1, description="Width of the search; 1 is faster.")
    batch_size: int = Field(
        1,
        ge=1,
        description="Clips that faster-whisper decodes together. With 1 no row depends on its "
        "neighbours by a bit; more is faster on a GPU, and may change the last digit of a number.",
    )
    word_times: bool = Field(True, description="Find the time of each word, where a model can.")

    @model_validator(mode="after")
    def _int8_is_of_one_backend(self) -> AsrSettings:
        if self.backend != "faster-whisper" and (self.compute_type or "").startswith("int8"):
            raise ValueError("int8 is for faster-whisper alone")
        return self


class TranscriptSettings(Section):
    """Where words may come from (``transcript``); the first source that has any wins."""

    sources: tuple[Literal["manifest", "sidecar", "embedded", "asr"], ...] = Field(
        ("manifest", "sidecar", "embedded"),
        description="Sources in order of trust; asr, a model that writes down what it hears, "
        "may be the last one.",
    )
    prefer_language: str | None = Field(
        None, description="Language of the sidecar or track to take when there are several."
    )
    sidecar_clock: Literal["auto", "clip", "source"] = Field(
        "auto",
        description="Whether times in sidecars count from the start of the clip, or from that of "
        "the film it was cut from (manifest column source_offset_s). auto takes the film's where "
        "an offset is given and the times do not fit the clip.",
    )
    asr: AsrSettings = AsrSettings()

    @model_validator(mode="after")
    def _asr_comes_last(self) -> TranscriptSettings:
        if "asr" in self.sources[:-1]:
            raise ValueError("asr must be the last source: what a person wrote comes first")
        return self


class MeshSettings(Section):
    """What both mesh tools want to be told."""

    rate_hz: float | None = Field(
        None, gt=0, description="Frames a second to measure; null measures every frame."
    )
    max_faces: int = Field(3, ge=1, le=10, description="Faces tracked at once.")
    min_detector_score: float = Field(
        0.6, ge=0, le=1, description="Score at which the second detector confirms a mesh."
    )
    min_overlap: float = Field(
        0.3, ge=0, le=1, description="IoU of mesh and detector box that confirms a mesh."
    )
    max_disagreement: float = Field(
        0.15,
        gt=0,
        description="Mean distance of eyes, nose and mouth in both, in sides of the box, up to "
        "which they mean the same face.",
    )
    max_yaw_deg: float = Field(35.0, gt=0, description="Beyond it no Action Unit is measured.")
    max_gap_s: float = Field(0.3, ge=0, description="A longer gap begins a new track.")


class FacemeshSettings(MeshSettings):
    """The facemesh tool (``face.facemesh``)."""


class BlendshapesSettings(MeshSettings):
    """The blendshapes tool (``face.blendshapes``)."""

    model: Path | None = Field(
        None,
        description="Where face_landmarker.task lies; null is where `merr tools install "
        "blendshapes` puts it.",
    )
    search_s: float = Field(
        0.4,
        gt=0,
        description="So often the frame is searched in pieces, for faces too small for a look at "
        "the whole.",
    )


class PyfeatSettings(Section):
    """The pyfeat tool (``face.pyfeat``)."""

    detector: Literal["v1", "v2"] = Field(
        "v2",
        description="v2 is one network for all; v1 is older, one network for each task, and "
        "measured to see Action Units less well.",
    )
    weights: Path | None = Field(
        None,
        description="Folder with the weights, as <page>/<file> or as a cache of Hugging Face; "
        "`merr doctor` lists the files and their sources. Part of them, v2's whole network and "
        "v1's gaze, is for non-commercial research only.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the networks run.")
    batch_size: int = Field(
        4, ge=1, le=64, description="Frames that go through the networks together."
    )
    rate_hz: float | None = Field(
        None, gt=0, description="Frames a second to measure; null measures every frame."
    )
    min_detector_score: float = Field(
        0.6, ge=0.5, le=1, description="Score at which a face is one; py-feat drops all below .5."
    )
    max_gap_s: float = Field(0.3, ge=0, description="A longer gap begins a new track.")


class OpenFaceSettings(Section):
    """OpenFace (``face.openface``): CSVs already made, else its program, else a docker image."""

    csv_dir: Path | None = Field(
        None,
        description="Folder with CSVs already made, <clip_id>.csv; <stem>.csv will do for clips in "
        "no subfolder. A clip that has one is not run through OpenFace.",
    )
    binary: Path | None = Field(
        None,
        description="OpenFace's FeatureExtraction, a path or a name on PATH; null looks for "
        "FeatureExtraction on PATH.",
    )
    docker_image: str | None = Field(
        None,
        description="Image with OpenFace that docker has here, for instance algebr/openface; used "
        "where there is no binary. Nothing is pulled.",
    )
    docker_program: str = Field(
        "/home/openface-build/build/bin/FeatureExtraction",
        description="Where FeatureExtraction lies in the image; this is its place in "
        "algebr/openface.",
    )
    keep_dir: Path | None = Field(
        None,
        description="Folder that keeps what OpenFace wrote, so that it never sees a clip twice; "
        "null is cache/openface in the output folder.",
    )
    min_confidence: float = Field(0.8, ge=0, le=1, description="Rows below it are not seen.")


class FaceSettings(Section):
    """Which program measures faces (``face``)."""

    tool: Literal["facemesh", "blendshapes", "pyfeat", "openface"] = Field(
        "facemesh", description="The face tool."
    )
    timeout_s: float = Field(300.0, gt=0, description="Time limit for one clip.")
    facemesh: FacemeshSettings = FacemeshSettings()
    blendshapes: BlendshapesSettings = BlendshapesSettings()
    pyfeat: PyfeatSettings = PyfeatSettings()
    openface: OpenFaceSettings = OpenFaceSettings()


class MomentSettings(Section):
    """Who is looked at, and when (``moment``)."""

    person: Literal["main", "largest", "speaker"] = Field(
        "main",
        description="Whose face: by size, place, time and voice together; without the voice; or "
        "of the one who speaks, where that can be told.",
    )
    rule: Literal["emotion_aus", "paper", "all_aus"] = Field(
        "emotion_aus",
        description="What is summed: emotion-relevant supported AUs, the clip's most frequent AUs "
        "(Emotion-LLaMA), or all measured AUs but blinks.",
    )
    by_label: bool = Field(
        True,
        description="Of several peaks show the one that goes best with the manifest's label, where "
        "there is one.",
    )
    smoothing_s: float = Field(0.2, ge=0, description="Width of the moving average of the score.")
    edge_frames: int = Field(
        2, ge=0, description="Frames at either end of a face track left out: cuts are there."
    )
    min_gap_s: float = Field(0.5, gt=0, description="Two peaks closer than this count as one.")
    clear_strength: float = Field(2.0, gt=0, description="Robust z at which a peak is clear.")
    weak_strength: float = Field(1.2, gt=0, description="Robust z under which there is no peak.")
    max_peaks: int = Field(5, ge=1, description="Peaks kept, strongest first.")
    frame_side_px: int = Field(448, ge=64, description="Long side of the peak picture, at most.")
    crop_side_px: int = Field(224, ge=64, description="Side of the square face picture.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality of the pictures.")


class ToneSettings(Section):
    """The voice in words (``tone``); words and thresholds are in ``tone_words.yaml``.

    What a model is asked, and how its claims are checked, is in ``tone_prompt.yaml``.
    """

    by: Literal["prosody", "model"] = Field(
        "prosody",
        description="prosody words the measures; model asks llm.audio, whose claims are checked "
        "against them.",
    )
    tempo_from: Literal["transcript", "nuclei"] = Field(
        "transcript", description="Where syllables are counted when there is a transcript."
    )


class SceneSettings(Section):
    """What is to be seen (``scene``); words are in ``scene_words.yaml``.

    What a model is asked, and what it may not say, is in ``scene_prompt.yaml``.
    """

    by: Literal["facts", "model"] = Field(
        "facts",
        description="facts says what was measured; model asks llm.vision, with the pictures.",
    )


class LabelSettings(Section):
    """The emotion label (``label``); spaces and rules are in ``annotation_templates/``."""

    space: str = Field("merr9", description="Label space of label_spaces.yaml.")
    sources: tuple[Literal["manifest", "au_rules"], ...] = Field(
        ("manifest", "au_rules"), description="Sources in order of trust."
    )
    min_confidence: float = Field(
        0.35, ge=0, le=1, description="AU rules abstain below this confidence."
    )
    min_margin: float = Field(
        0.05, ge=0, le=1, description="AU rules abstain when the runner-up is nearer than this."
    )


class FineSettings(Section):
    """The reasoning text (``fine``)."""

    by: Literal["composer", "model"] = Field(
        "composer",
        description="composer writes by rule; model asks llm.text, whose claims are checked "
        "against the evidence.",
    )
    max_words: int = Field(120, ge=20, le=180, description="The reference trainer cuts at 200.")
    told: bool = Field(
        False,
        description="Tell the model the clip's label, as MERR's authors did; else it concludes "
        "blind, and whether it agrees is recorded.",
    )
    samples: int = Field(
        1,
        ge=1,
        le=20,
        description="Answers asked of llm.text for each clip, by other seeds; the label of most "
        "counts. More than one need an llm.text.temperature over 0.",
    )
    second: bool = Field(
        False, description="Also ask llm.second which label the evidence points to."
    )
