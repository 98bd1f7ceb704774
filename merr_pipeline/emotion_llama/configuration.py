"""The configuration of the model: a language model, its encoders, and the layout of a prompt."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from merr_pipeline.emotion_llama.layout import PLACEHOLDERS, PUBLISHED, STREAMS, layout_from

ENCODERS = ("image", *STREAMS)
PUBLISHED_WIDTHS = {"image": 1408, "face": 1024, "temporal": 1024, "audio": 1024}


class EmotionLlamaConfig(PreTrainedConfig):
    """What an `EmotionLlamaForConditionalGeneration` is made of.

    ``text_config`` is that of any causal language model. An encoder whose configuration is null is
    not in the model: its features then come from elsewhere. ``<name>_width`` is the width of an
    encoder's features; where the encoder is there it is the encoder's own.

    The published image encoder, EVA-CLIP-g, is ``blip_2_vision_model`` with its defaults. Image
    and face encoders must have a class token before the tokens of their patches.

    ``image_affine_norm``: whether image features pass the encoder's own last norm. The published
    code never loads the weights of that norm, so there it is a plain one.
    """

    model_type = "emotion_llama"
    # A plain dict is what transformers 5.17 and 5.23 both read.
    sub_configs: ClassVar[dict[str, Any]] = dict.fromkeys(
        [f"{name}_config" for name in ("text", *ENCODERS)], AutoConfig
    )

    # A PreTrainedConfig, or a dict as its JSON has it.
    text_config: Any = None
    image_config: Any = None
    face_config: Any = None
    temporal_config: Any = None
    audio_config: Any = None
    image_width: int | None = None
    face_width: int | None = None
    temporal_width: int | None = None
    audio_width: int | None = None
    image_affine_norm: bool = False
    layout: Any = None  # as Layout.as_dict gives it
    image_token_id: int | None = None
    cls_token_id: int | None = None
    face_token_id: int | None = None
    temporal_token_id: int | None = None
    audio_token_id: int | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the inner configurations, and check the layout."""
        for name in ("text", *ENCODERS):
            setattr(self, f"{name}_config", _config(getattr(self, f"{name}_config")))
        if self.text_config is None:
            self.text_config = CONFIG_MAPPING["llama"]()
        for name in ENCODERS:
            encoder = getattr(self, f"{name}_config")
            stated = getattr(self, f"{name}_width")
            width = stated or PUBLISHED_WIDTHS[name] if encoder is None else encoder.hidden_size
            setattr(self, f"{name}_width", width)
        if hasattr(self.face_config, "mask_ratio"):
            self.face_config.mask_ratio = 0.0  # an autoencoder hides most of a face to learn
        self.layout = (PUBLISHED if self.layout is None else layout_from(self.layout)).as_dict()
        self.tie_word_embeddings = bool(self.text_config.tie_word_embeddings)
        super().__post_init__(**kwargs)

    @property
    def placeholder_ids(self) -> dict[str, int]:
        """The token id of each placeholder that the tokenizer has."""
        ids = {name: getattr(self, f"{name}_token_id") for name in PLACEHOLDERS}
        return {name: number for name, number in ids.items() if number is not None}


def _config(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return CONFIG_MAPPING[value["model_type"]](
        **{k: v for k, v in value.items() if k != "model_type"}
    )


AutoConfig.register(EmotionLlamaConfig.model_type, EmotionLlamaConfig)
