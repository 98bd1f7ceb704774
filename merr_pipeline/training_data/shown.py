"""What a model is shown of a clip, as a recipe has it: from a cache, from the media, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from merr_pipeline.emotion_llama.configuration import ENCODERS, PUBLISHED_WIDTHS
from merr_pipeline.emotion_llama.processing import EmotionLlamaProcessor
from merr_pipeline.exports.wanted import named
from merr_pipeline.recipe import Recipe
from merr_pipeline.schema import MerrError, Row
from merr_pipeline.training_data.data import OfClip
from merr_pipeline.training_data.feature_files import revision_of
from merr_pipeline.training_data.features import FeatureCache
from merr_pipeline.training_data.media import ClipMedia, name_of_frames
from merr_pipeline.training_data.records import Records


class Shown:
    """An `OfClip`: features of a cache, values of the clips themselves."""

    def __init__(
        self, cache: FeatureCache | None, cached: Sequence[str], media: ClipMedia | None
    ) -> None:
        self.cache = cache
        self._cached, self._media = tuple(f"{name}_features" for name in cached), media

    def __call__(self, clip: Row) -> dict[str, Tensor]:
        """``<encoder>_features`` or ``<encoder>_values``; what a clip has not is left out.

        Raises:
            MerrError: the clip is not in the cache, or its file cannot be read.
        """
        found = self._media.values(clip) if self._media else {}
        if self.cache and self._cached:
            features = self.cache.of_clip(clip)
            found.update({name: features[name] for name in self._cached if name in features})
        return found


def shown(
    recipe: Recipe,
    processor: EmotionLlamaProcessor,
    model_encoders: Sequence[str],
    widths: Mapping[str, int] | None = None,
) -> Shown:
    """Choose where each stream of ``recipe.data.streams`` comes from.

    What the cache of ``recipe.data.features`` has comes from it. Of the rest, what the model has an
    encoder for comes from the clips, or the pictures of cache or dataset. What nothing gives is
    not shown: `sources` says what comes from where.

    Args:
        recipe: of the run.
        processor: of the model.
        model_encoders: encoders that are in the model, by name.
        widths: of the features that the model takes; without it, what a new model of this recipe
            takes.

    Raises:
        MerrError: there is no such cache, it was made for another model, or nothing gives anything.
    """
    data = recipe.data
    cache = FeatureCache.open(data.features) if data.features else None
    pictures = processor.layout["pictures"]
    frame = name_of_frames(data.frame, pictures)
    found = sources(recipe, cache, model_encoders, frame)
    cached = [name for name, source in found.items() if source == "cache"]
    read = [name for name, source in found.items() if source == "media"]
    if data.streams and not found:
        raise MerrError(
            f"nothing gives {', '.join(data.streams)}: there is no such encoder in the model, and "
            f"no such features in {data.features or 'a cache (data.features)'}.\n"
            "Make some with `merr features`, or name folders in model.encoders."
        )
    if cache is not None:
        _check(cache, cached, recipe, processor, widths)
    media = None
    if read:
        same = cache is not None and cache.made_by.frame == frame
        picture = cache.picture if cache is not None and same else None
        media = ClipMedia(
            processor, read, data.clips, frame=data.frame, picture=picture, pictures=pictures
        )
    return Shown(cache, cached, media)


def sources(
    recipe: Recipe, cache: FeatureCache | None, model_encoders: Sequence[str], frame: str
) -> dict[str, Literal["cache", "media"]]:
    """Where each stream comes from; those that nothing gives are not there.

    Raises:
        MerrError: the cache has image features of another frame, and the model no image encoder.
    """
    found: dict[str, Literal["cache", "media"]] = {}
    for name in ENCODERS:
        if name not in recipe.data.streams:
            continue
        there = cache is not None and name in cache.encoders
        if there and cache is not None and name == "image":
            there = cache.made_by.frame == frame
            if not there and name not in model_encoders:
                raise MerrError(
                    f"{cache.folder} has image features of the {cache.made_by.frame} frame, and "
                    f"this recipe wants the {frame} frame. Make another cache for it."
                )
        if there:
            found[name] = "cache"
        elif name in model_encoders:
            found[name] = "media"
    return found


def without_lost(records: Records, of_clip: OfClip) -> tuple[Records, dict[str, str]]:
    """Records of clips that can be shown, and the other clips with the reason.

    Without a cache all can, for all that is known before.

    Raises:
        MerrError: the dataset has clips that the cache has never seen, or none is left.
    """
    cache = of_clip.cache if isinstance(of_clip, Shown) else None
    if cache is None:
        return records, {}
    lost = {one: cache.failed[one] for one in records.clips if one in cache.failed}
    unseen = sorted(one for one in records.clips if one not in cache and one not in lost)
    if unseen:
        raise MerrError(
            f"{len(unseen)} of {len(records.clips)} clips are not in {cache.folder}: "
            f"{named(unseen)}.\nRun `merr features` again; it does only what is missing."
        )
    if len(lost) == len(records.clips):
        raise MerrError(f"none of {len(lost)} clips could be read for {cache.folder}.")
    kept = [one for one in records.records if one.clip_id not in lost]
    clips = {name: clip for name, clip in records.clips.items() if name not in lost}
    return Records(kept, clips), lost


def _check(
    cache: FeatureCache,
    cached: Sequence[str],
    recipe: Recipe,
    processor: EmotionLlamaProcessor,
    widths: Mapping[str, int] | None,
) -> None:
    """Raise MerrError where cached features are not those that the model learns from."""
    new = recipe.model.start is None
    folders = recipe.model.encoders.folders() if new else {}
    if widths is None:
        stated = {**PUBLISHED_WIDTHS, **recipe.model.widths} if new else {}
        widths = {name: width for name, width in stated.items() if name not in folders}
    cache.check_widths({name: widths[name] for name in cached if name in widths})
    for name in sorted(set(folders) & set(cached)):
        revision = revision_of(folders[name])
        made_by = cache.encoders[name]
        if revision != made_by.revision:
            raise MerrError(
                f"{cache.folder} has {name} features by {made_by.model} {made_by.revision[:12]}; "
                f"{folders[name]} is {revision[:12]}.\nMake a cache with that encoder, or name "
                "the one that made this."
            )
    if "image" in cached:
        patches, wanted = cache.encoders["image"].shape[-2] - 1, processor.layout["grid"] ** 2
        if patches != wanted:
            raise MerrError(
                f"{cache.folder} has {patches} patches in a picture; this model's layout has "
                f"{wanted}. Make a cache with model.layout of this recipe."
            )
