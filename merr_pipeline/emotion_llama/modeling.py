"""Emotion-LLaMA: frozen encoders (or features from elsewhere), projectors, a causal language model.

Features have a clip as their first dimension and each their own mask, true where there is one::

    image_features     [clips, pictures, 1 + patches, width]   image_mask     [clips, pictures]
    face_features      [clips, vectors, width]                 face_mask      [clips, vectors]
    temporal_features  [clips, vectors, width]                 temporal_mask  [clips, vectors]
    audio_features     [clips, vectors, width]                 audio_mask     [clips, vectors]

Without a mask all are there. What encoders read is the same, with values in place of features:
``image_values [clips, pictures, 3, h, w]``, ``face_values [clips, crops, 3, h, w]``,
``temporal_values [clips, frames, 3, h, w]``, ``audio_values [clips, samples]``.

The vectors take the places of the placeholder tokens in their order: clip after clip. Several
clips may share a row of tokens if ``position_ids`` start again with each, there is no
``attention_mask`` and nothing is cached; a loss is always computed without a cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForImageTextToText, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from merr_pipeline.emotion_llama import encoders
from merr_pipeline.emotion_llama.configuration import ENCODERS, EmotionLlamaConfig
from merr_pipeline.emotion_llama.layout import STREAMS, layout_from
from merr_pipeline.emotion_llama.loss import supervised_loss

MEDIA = tuple(f"{name}_{kind}" for name in ENCODERS for kind in ("features", "values", "mask"))
"""Arguments of `forward` that speak of clips and not of tokens."""


@dataclass
class EmotionLlamaOutput(ModelOutput):
    """``logits`` are null where a loss is computed in training."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class Projector(nn.Module):
    """One linear layer for each kind of placeholder token."""

    def __init__(self, config: EmotionLlamaConfig) -> None:
        super().__init__()
        layout, width = layout_from(config.layout), config.text_config.hidden_size
        self.grid, self.rows, self.columns = layout.grid, layout.merge_rows, layout.merge_columns
        image_width: Any = config.image_width
        self.image = nn.Linear(image_width * self.rows * self.columns, width)
        self.cls = nn.Linear(image_width, width)
        for name in STREAMS:
            setattr(self, name, nn.Linear(getattr(config, f"{name}_width"), width))

    def forward(self, name: str, vectors: Tensor) -> Tensor:
        """``[..., width of the encoder]`` -> ``[..., width of the language model]``."""
        layer = getattr(self, name)
        projected: Tensor = layer(vectors.to(layer.weight.dtype))
        return projected

    def merged(self, patches: Tensor) -> Tensor:
        """``[pictures, patches, width]`` -> ``[pictures, blocks, patches of a block * width]``."""
        pictures, count, width = patches.shape
        block = self.rows * self.columns * width
        if count != self.grid**2:
            raise ValueError(
                f"image: {count} patches in a picture; the layout has {self.grid} x {self.grid}"
            )
        down, across = self.grid // self.rows, self.grid // self.columns
        blocks = patches.reshape(pictures, down, self.rows, across, self.columns, width)
        return blocks.transpose(2, 3).reshape(pictures, down * across, block)


class EmotionLlamaPreTrainedModel(PreTrainedModel):
    """What transformers wants to know of the model."""

    config_class = EmotionLlamaConfig
    base_model_prefix = "model"
    input_modalities = ("image", "video", "audio", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ("past_key_values",)
    _keep_in_fp32_modules_strict = ("projector",)  # bf16 would round away what it has learned

    @property
    def dtype(self) -> torch.dtype:
        """Of the language model, which the configuration of a saved model states."""
        found: torch.dtype = next(self.get_input_embeddings().parameters()).dtype
        return found


class EmotionLlamaModel(EmotionLlamaPreTrainedModel):
    """Encoders, projectors and the language model without its head."""

    def __init__(self, config: EmotionLlamaConfig) -> None:
        super().__init__(config)
        there = {name: getattr(config, f"{name}_config") for name in ENCODERS}
        self.encoders = nn.ModuleDict(
            {name: encoders.build_encoder(one) for name, one in there.items() if one is not None}
        )
        self.encoders.requires_grad_(False)
        self.projector = Projector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def train(self, mode: bool = True) -> EmotionLlamaModel:
        """As always, but encoders stay as they are: no dropout, no masked spans of sound."""
        super().train(mode)
        self.encoders.eval()
        return self

    def get_input_embeddings(self) -> nn.Module:
        """Those of the language model."""
        found: nn.Module = self.language_model.get_input_embeddings()
        return found

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Those of the language model."""
        self.language_model.set_input_embeddings(value)

    def encode(self, name: str, values: Tensor) -> Tensor:
        """Features of one clip: what a cache keeps, and what training computes without one.

        Args:
            name: ``image``, ``face``, ``temporal`` or ``audio``.
            values: those of one clip, without a clip dimension.

        Raises:
            ValueError: the model has no such encoder.
        """
        if name not in self.encoders:
            raise ValueError(f"the model has no {name} encoder: give {name}_features")
        layout, encoder = layout_from(self.config.layout), self.encoders[name]
        with torch.no_grad():
            if name == "image":
                return encoders.encode_pictures(encoder, values, self.config.image_affine_norm)
            vectors = getattr(layout, name)
            encode = getattr(encoders, f"encode_{name}")
            features: Tensor = encode(encoder, values, vectors)
            return features

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The language model's output; arguments of `MEDIA` as the module says."""
        media = {name: kwargs.pop(name, None) for name in MEDIA}
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("neither input_ids nor inputs_embeds are given")
            inputs_embeds = self._embed(input_ids, media)
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **kwargs,
        )

    def _embed(self, input_ids: Tensor, media: dict[str, Tensor | None]) -> Tensor:
        """Embeddings of all tokens, those of placeholders replaced by their vectors."""
        ids = self.config.placeholder_ids
        placeholders = torch.isin(input_ids, input_ids.new_tensor(sorted(ids.values())))
        # Their own embeddings are never used, and may lie beyond the vocabulary.
        embeds: Tensor = self.get_input_embeddings()(input_ids.masked_fill(placeholders, 0))
        vectors = self._vectors(media)
        for name, token in ids.items():
            slots = input_ids == token
            there = vectors.get(name)
            _check_counts(name, slots, there)
            if there:
                flat = torch.cat(there).to(embeds)
                embeds = embeds.masked_scatter(slots.unsqueeze(-1), flat)
        return embeds

    def _vectors(self, media: dict[str, Tensor | None]) -> dict[str, list[Tensor]]:
        """Projected vectors of each placeholder, one tensor ``[tokens, width]`` for each clip."""
        found: dict[str, list[Tensor]] = {}
        for name in ENCODERS:
            clips = self._features(name, media)
            if clips is None:
                continue
            if name == "image":
                merged = [self.projector.merged(one[:, 1:]).flatten(0, 1) for one in clips]
                found["image"] = [self.projector("image", one) for one in merged]
                found["cls"] = [self.projector("cls", one[:, 0]) for one in clips]
            else:
                found[name] = [self.projector(name, one) for one in clips]
        return found

    def _features(self, name: str, media: dict[str, Tensor | None]) -> list[Tensor] | None:
        """Features of each clip, without those that its mask leaves out."""
        given, mask = media[f"{name}_features"], media[f"{name}_mask"]
        values = media[f"{name}_values"]
        if given is not None and values is not None:
            raise ValueError(f"give {name}_features or {name}_values, not both")
        if given is not None:
            return _masked(given, mask)
        if values is None:
            return None
        clips = _masked(values, mask)
        if name == "image" and any(len(one) for one in clips):  # all pictures in one go
            return list(self.encode(name, torch.cat(clips)).split([len(one) for one in clips]))
        some = [self.encode(name, one) if len(one) else None for one in clips]
        none = self._no_features(name, values)
        return [none if one is None else one for one in some]

    def _no_features(self, name: str, like: Tensor) -> Tensor:
        width = getattr(self.config, f"{name}_width")
        patches = (1 + self.projector.grid**2,) if name == "image" else ()
        return torch.zeros((0, *patches, width), device=like.device)


def _masked(values: Tensor, mask: Tensor | None) -> list[Tensor]:
    if mask is None:
        return list(values)
    return [one[there.bool()] for one, there in zip(values, mask, strict=True)]


def _check_counts(name: str, slots: Tensor, vectors: list[Tensor] | None) -> None:
    """Raise ValueError unless there is one vector for each placeholder token.

    Where each row is one clip, the rows are compared; a packed row is compared as a whole.
    """
    tokens = slots.sum(1).tolist()
    counts = [len(one) for one in vectors or []] or [0] * len(tokens)
    if len(counts) != len(tokens):
        tokens, counts = [sum(tokens)], [sum(counts)]
    if tokens != counts:
        raise ValueError(f"{name}: {tokens} placeholder tokens for {counts} vectors")


class EmotionLlamaForConditionalGeneration(EmotionLlamaPreTrainedModel, GenerationMixin):
    """The model with the head of its language model."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012
    accepts_loss_kwargs = True  # HF Trainer then says how many labels a whole batch has

    def __init__(self, config: EmotionLlamaConfig) -> None:
        super().__init__(config)
        self.model = EmotionLlamaModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()
        # A placeholder that the model itself said would stand for nothing.
        self.generation_config.suppress_tokens = sorted(config.placeholder_ids.values()) or None

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        """The head."""
        self.lm_head = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        image_features: Tensor | None = None,
        image_values: Tensor | None = None,
        image_mask: Tensor | None = None,
        face_features: Tensor | None = None,
        face_values: Tensor | None = None,
        face_mask: Tensor | None = None,
        temporal_features: Tensor | None = None,
        temporal_values: Tensor | None = None,
        temporal_mask: Tensor | None = None,
        audio_features: Tensor | None = None,
        audio_values: Tensor | None = None,
        audio_mask: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> EmotionLlamaOutput:
        """Loss and logits.

        Args:
            input_ids: ``[rows, tokens]``, with placeholders as the processor makes them.
            inputs_embeds: in place of ``input_ids``; features are then not looked at.
            attention_mask: ``[rows, tokens]``; none for packed rows.
            position_ids: ``[rows, tokens]``.
            past_key_values: the cache of earlier tokens.
            labels: ``[rows, tokens]``, -100 where nothing is to be learned.
            logits_to_keep: the last so many positions have logits; 0 is all.
            num_items_in_batch: see `supervised_loss`.
            image_features: this and all below: see the module.
            image_values: of the image encoder.
            image_mask: which pictures there are.
            face_features: vectors of the face.
            face_values: of the face encoder.
            face_mask: which vectors or crops there are.
            temporal_features: vectors of the course.
            temporal_values: of the temporal encoder.
            temporal_mask: which vectors or frames there are.
            audio_features: vectors of the sound.
            audio_values: of the audio encoder.
            audio_mask: which vectors or samples there are.
            return_dict: always true.
            **kwargs: of the language model.

        Raises:
            ValueError: the placeholder tokens are not as many as the vectors.
        """
        if labels is not None or self.training:
            # With a cache, transformers does not see that packed rows hold several clips, and
            # each one reads those before it, silently.
            kwargs["use_cache"] = False
        given = locals()  # by name, as the arguments of MEDIA are passed on as they came
        output = self.model(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            **{name: given[name] for name in MEDIA},
            **kwargs,
        )
        hidden: Tensor = output.last_hidden_state
        loss = logits = None
        if labels is not None:
            loss = supervised_loss(hidden, self.lm_head, labels, num_items_in_batch)
        if labels is None or not self.training:
            last = (
                slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
            )
            logits = self.lm_head(hidden[:, last])
        return EmotionLlamaOutput(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Features go in with the prompt; with a cache the next tokens come alone."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in MEDIA:
                inputs.pop(name, None)
        return inputs


AutoModelForImageTextToText.register(EmotionLlamaConfig, EmotionLlamaForConditionalGeneration)
