"""One typed tree of settings, filled by profile, environment and ``--set``, in that order.

A profile is a YAML file in ``profiles/``. ``MERR_FACE__TOOL=openface`` sets ``face.tool`` from the
environment; ``--set face.tool=openface`` does so on the command line and wins. A key that does not
exist is refused with the nearest one that does.

Thresholds that carry knowledge of the field (tone words, emotion rules, Action Unit tiers) are not
here but in ``annotation_templates/``.
"""

from merr_pipeline.settings.keys import describe_keys, known_keys
from merr_pipeline.settings.loading import PROFILES, load_settings, profile_names
from merr_pipeline.settings.models import LlmSettings, ModelSettings
from merr_pipeline.settings.section import Role, SettingsError
from merr_pipeline.settings.stages import (
    AsrSettings,
    BlendshapesSettings,
    FacemeshSettings,
    FaceSettings,
    LabelSettings,
    MomentSettings,
    OpenFaceSettings,
    ProbeSettings,
    PyfeatSettings,
    TranscriptSettings,
    VoiceSettings,
)
from merr_pipeline.settings.tree import CoarseSettings, DatasetSettings, Settings, with_places

__all__ = [
    "PROFILES",
    "AsrSettings",
    "BlendshapesSettings",
    "CoarseSettings",
    "DatasetSettings",
    "FaceSettings",
    "FacemeshSettings",
    "LabelSettings",
    "LlmSettings",
    "ModelSettings",
    "MomentSettings",
    "OpenFaceSettings",
    "ProbeSettings",
    "PyfeatSettings",
    "Role",
    "Settings",
    "SettingsError",
    "TranscriptSettings",
    "VoiceSettings",
    "describe_keys",
    "known_keys",
    "load_settings",
    "profile_names",
    "with_places",
]
