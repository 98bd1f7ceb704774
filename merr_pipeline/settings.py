"""One typed tree of settings, filled by profile, environment and ``--set``, in that order.

A profile is a YAML file in ``profiles/``. ``MERR_FACE__TOOL=openface`` sets ``face.tool`` from the
environment; ``--set face.tool=openface`` does so on the command line and wins. A key that does not
exist is refused with the nearest one that does.

Thresholds that carry knowledge of the field (tone words, emotion rules, Action Unit tiers) are not
here but in ``annotation_templates/``.
"""

from __future__ import annotations

import difflib
import os
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from merr_pipeline.schema import MerrError

PROFILES = Path(__file__).parent / "profiles"
ENVIRONMENT_PREFIX = "MERR_"

Role = Literal["text", "vision", "audio", "second"]
"""What a model is asked for; ``second`` gives second opinions on texts and labels."""


class SettingsError(MerrError):
    """A setting that does not exist, or has a value that cannot be."""


class Section(BaseModel):
    """Closed and frozen: a misspelt key is refused, a worker cannot change a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


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


class ModelSettings(Section):
    """A model behind an OpenAI-compatible server, as one role asks it.

    Roles that name the same server, key and model share its limits: the smallest counts.
    """

    base_url: str | None = Field(
        None,
        description="Where the server's API begins, for instance http://localhost:8000/v1; null is "
        "the server of llm.text, with its key.",
    )
    model: str | None = Field(None, description="Name of the model, as the server spells it.")
    revision: str = Field(
        "",
        description="What is served under that name, if it may change: a commit, a quantisation. "
        "Another revision asks everything anew.",
    )
    key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the key; null sends none.",
    )
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Null leaves it to the server; some models take no other."
    )
    seed: int | None = Field(0, description="Null sends none.")
    max_tokens: int = Field(1024, ge=1, description="Length at which an answer is cut.")
    limit_name: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="How the server calls it; OpenAI's reasoning models: the latter."
    )
    json_mode: Literal["schema", "object", "none"] = Field(
        "schema",
        description="How the server is made to answer in JSON: by a schema, as any JSON object, by "
        "the prompt alone. A server that says it cannot is asked in the next way.",
    )
    audio_part: Literal["input_audio", "audio_url"] = Field(
        "input_audio", description="How sound is sent; some servers take only one of the two."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="More fields of the request, for instance {top_k: 20, chat_template_kwargs: "
        "{enable_thinking: false}}.",
    )
    concurrency: int = Field(16, ge=1, le=1000, description="Calls in flight at once.")
    requests_per_minute: float | None = Field(None, gt=0, description="Null sets no limit.")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Of prompts and answers together; null sets no limit."
    )
    timeout_s: float = Field(
        120.0, gt=0, description="Time limit for one try, until its last byte."
    )
    retries: int = Field(5, ge=0, le=20, description="Tries after the first, if the server fails.")
    backoff_s: float = Field(
        1.0,
        gt=0,
        description="Longest wait before the second try; doubles with each, up to max_wait_s.",
    )
    max_wait_s: float = Field(
        120.0,
        gt=0,
        description="Longest wait between two tries, also where the server asks for more "
        "(Retry-After).",
    )

    @field_validator("base_url")
    @classmethod
    def _holds_no_key(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must begin with http:// or https:// and name a host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment; see key_env")
        return url.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _says_nothing_twice(cls, extra: dict[str, Any]) -> dict[str, Any]:
        ours = {"model", "messages", "stream", "n", "response_format", "seed", "temperature"}
        ours |= {"max_tokens", "max_completion_tokens"}
        if taken := sorted(ours & extra.keys()):
            raise ValueError(f"cannot hold {', '.join(taken)}: the pipeline says that itself")
        return extra


class LlmSettings(Section):
    """The models that are asked, by what for, and what may be spent (``llm``)."""

    text: ModelSettings = ModelSettings()
    vision: ModelSettings = ModelSettings()
    audio: ModelSettings = ModelSettings()
    second: ModelSettings = ModelSettings()
    max_usd: float | None = Field(
        None, ge=0, description="No call starts that may bring a run above it; null sets no limit."
    )
    max_calls: int | None = Field(
        None, ge=0, description="Requests a run may send, failed ones too; null sets no limit."
    )

    def of(self, role: Role) -> ModelSettings:
        """The settings of a role; what it leaves to ``llm.text`` is filled in.

        Raises:
            SettingsError: it has no model or no server.
        """
        own: ModelSettings = getattr(self, role)
        if own.base_url is None:
            own = own.model_copy(
                update={"base_url": self.text.base_url, "key_env": self.text.key_env}
            )
        missing = [name for name in ("base_url", "model") if getattr(own, name) is None]
        if missing:
            wanted = " and ".join(f"llm.{role}.{name}" for name in missing)
            raise SettingsError(
                f"{wanted} must be set: something in this profile asks a model for {role}.\n"
                "For instance --set llm.text.base_url=http://localhost:8000/v1, and the model's "
                "name as that server spells it."
            )
        return own


class CoarseSettings(Section):
    """The coarse captions, and the questions and answers of the coarse records (``coarse``)."""

    form: Literal["template", "raw"] = Field(
        "template",
        description="template puts the pieces of a caption into the sentences of the MERR paper; "
        "raw puts them side by side, as in the paper's ablation.",
    )
    language: Literal["en", "zh"] = Field(
        "en", description="zh writes Chinese (simplified); fine texts and their questions are en."
    )


class DatasetSettings(Section):
    """What a finished dataset holds (``dataset``)."""

    require_face_coverage: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of a shot's frames that must show the main person; 0 asks for no face.",
    )
    require_words_or_voice: bool = Field(
        True,
        description="A clip with sound needs words, or a voice, or what may be one (crying, "
        "shouting, words under music); stills and mute clips do not.",
    )
    min_snr_db: float | None = Field(
        None,
        description="A voice less far above its background, in dB as voice measures it, is left "
        "out; null asks for nothing. Films often have 5 to 20.",
    )
    split_shares: tuple[float, float, float] = Field(
        (0.9, 0.05, 0.05), description="Shares of train, validation and test, by groups."
    )
    agreement: str = Field(
        "careful",
        description="Policy of agreement.yaml: when a label that others contradict is to be "
        "reviewed, or costs the clip its place.",
    )
    select: str = Field(
        "all",
        description="Plan of selection.yaml: which clips have records in `fine`, and how many of "
        "each label; all takes every clip that has a text. Also --select.",
    )
    seed: int = Field(0, description="Draws the splits, and the selection where it is by hash.")
    clips_per_shard: int = Field(2000, ge=1, description="Shards double when they grow past it.")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> DatasetSettings:
        if min(self.split_shares) < 0 or abs(sum(self.split_shares) - 1) > 1e-6:
            raise ValueError("split_shares must be three shares >= 0 that sum to 1")
        return self


class EngineSettings(Section):
    """How the work is spread (``engine``); nothing here changes a byte of what comes out well."""

    workers: int | None = Field(None, ge=1, description="Processes; null takes one per CPU.")
    batch_size: int = Field(16, ge=1, description="Clips a worker takes at a time.")
    clip_limit_s: float | None = Field(
        600.0, gt=0, description="Time limit for one clip in one stage; null sets none."
    )
    memory_limit_mb: int | None = Field(
        4096,
        ge=1024,
        description="Memory limit of each worker and of each tool; null sets none. A clip of 10 "
        "minutes takes 850.",
    )


class Settings(Section):
    """Everything that shapes a build. ``merr config`` prints it."""

    profile: str = Field("embedded", description="Name of the profile this was filled from.")
    templates: Path | None = Field(
        None, description="Folder with your own versions of files of annotation_templates/."
    )
    probe: ProbeSettings = ProbeSettings()
    voice: VoiceSettings = VoiceSettings()
    transcript: TranscriptSettings = TranscriptSettings()
    face: FaceSettings = FaceSettings()
    moment: MomentSettings = MomentSettings()
    tone: ToneSettings = ToneSettings()
    scene: SceneSettings = SceneSettings()
    label: LabelSettings = LabelSettings()
    fine: FineSettings = FineSettings()
    llm: LlmSettings = LlmSettings()
    coarse: CoarseSettings = CoarseSettings()
    dataset: DatasetSettings = DatasetSettings()
    engine: EngineSettings = EngineSettings()

    def asking(self) -> dict[Role, list[str]]:
        """The models that stages ask, and which stages."""
        asked: dict[Role, list[str]] = {}
        for stage, by, role in (
            ("tone", self.tone.by, "audio"),
            ("scene", self.scene.by, "vision"),
            ("fine", self.fine.by, "text"),
        ):
            if by == "model":
                asked.setdefault(cast(Role, role), []).append(stage)
        return asked


def with_places(settings: Settings, out: Path) -> Settings:
    """The same settings, with places in the output folder where they name none."""
    openface = settings.face.openface
    if openface.keep_dir is not None:
        return settings
    kept = openface.model_copy(update={"keep_dir": out / "cache" / "openface"})
    face = settings.face.model_copy(update={"openface": kept})
    return settings.model_copy(update={"face": face})


def profile_names() -> list[str]:
    """The shipped profiles, sorted."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_settings(
    profile: str = "embedded",
    overrides: Iterable[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Fill the tree: defaults, then the profile, then ``MERR_*``, then ``key=value`` overrides.

    ``profile`` is a shipped name or the path of a YAML file of your own.

    Raises:
        SettingsError: unknown profile, unknown key (the nearest known one is named), bad value.
    """
    values = _read_profile(profile)
    for key, value in [*_from_environment(environment), *map(_split_override, overrides)]:
        _put(values, key, value)
    values["profile"] = Path(profile).stem
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _read_profile(profile: str) -> dict[str, Any]:
    path = Path(profile) if profile.endswith((".yaml", ".yml")) else PROFILES / f"{profile}.yaml"
    if not path.is_file():
        raise SettingsError(
            f"profile {profile!r} does not exist.\n"
            f"Shipped profiles: {', '.join(profile_names())}; or give the path of a .yaml file."
        )
    values = yaml.safe_load(path.read_text("utf-8")) or {}
    if not isinstance(values, dict):
        raise SettingsError(f"profile {path} must be a mapping of settings.")
    return values


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any]]:
    return [
        (name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", "."), _parse(value))
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX)
    ]


def _split_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--set {text}: write it as key=value, e.g. --set face.tool=openface.")
    return key.strip(), _parse(value)


def _parse(value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for name in sections:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"{key}: {name} is a value, not a section.")
        values = inner
    values[last] = value


def known_keys() -> list[str]:
    """Every setting as its dotted key, in the order of the tree."""
    return list(_keys(Settings, ""))


def _keys(section: type[BaseModel], prefix: str) -> Iterable[str]:
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def describe_keys() -> list[tuple[str, str, str]]:
    """``(key, type, description)`` of every setting; `merr config` shows them."""
    return list(_descriptions(Settings, ""))


def _descriptions(section: type[BaseModel], prefix: str) -> Iterable[tuple[str, str, str]]:
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _descriptions(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _type_name(kind), info.description or ""


def _type_name(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (Union, types.UnionType):
        return " | ".join("null" if p is type(None) else _type_name(p) for p in parts)
    if origin is tuple:
        return "list of " + _type_name(parts[0])
    return "path" if kind is Path else getattr(kind, "__name__", str(kind))


def _explain(error: ValidationError) -> str:
    return "\n".join(_explain_one(dict(item)) for item in error.errors())


def _explain_one(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] != "extra_forbidden":
        return f"{key} = {item.get('input')!r}: {item['msg']}"
    near = difflib.get_close_matches(key, [*known_keys(), *Settings.model_fields], n=1, cutoff=0.0)
    return f"{key} is not a setting. Did you mean {near[0]}? `merr config` lists them all."
