"""Asking a tool program about a clip: what goes wrong becomes a reason, never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from merr_pipeline.face.tools.process import (
    ToolDied,
    ToolGarbled,
    ToolNotThere,
    ToolProcess,
    ToolTooSlow,
)
from merr_pipeline.schema import Reason, Row
from merr_pipeline.stage import fail

TIME_TOLERANCE_S = 0.002  # probe rounds times to a millisecond


def ask_about_clip(
    process: ToolProcess, name: str, request: Mapping[str, Any], limit_s: float, probe: Row
) -> tuple[pa.Table, dict[str, str]]:
    """The program's table (with ``frame_index`` and ``time_s``) and the metadata it sent along.

    Raises:
        NotOk: failed with ``TOOL_CRASHED``, ``TOOL_TIMEOUT``, ``TOOL_MISSING``, the program's own
            reason, or ``TOOL_OUTPUT_INVALID`` if it is no table, or about other frames than those
            probe saw.
    """
    try:
        try:
            table = process.ask(request, limit_s)
        except ToolDied:  # this clip may be innocent: another program took its memory, say
            table = process.ask(request, limit_s)
    except ToolDied:
        raise fail(Reason.TOOL_CRASHED, f"{name} died twice on this clip") from None
    except ToolTooSlow:
        raise fail(Reason.TOOL_TIMEOUT, f"{name} took longer than {limit_s:g} s") from None
    except ToolGarbled:
        raise fail(Reason.TOOL_OUTPUT_INVALID, f"{name} answered with what is no table") from None
    except ToolNotThere:
        raise fail(
            Reason.TOOL_MISSING, f"{name} does not start; run `merr tools install {name}`"
        ) from None
    found = table.schema.metadata or {}
    metadata = {key.decode(): value.decode() for key, value in found.items()}
    try:
        _check(name, metadata, table, probe)
    except (KeyError, ValueError, IndexError) as error:
        what = f"{type(error).__name__}: {error}"
        raise fail(
            Reason.TOOL_OUTPUT_INVALID, f"{name}'s table is not as agreed, {what}"
        ) from error
    return table, metadata


def _check(name: str, metadata: Mapping[str, str], table: pa.Table, probe: Row) -> None:
    if "reason" in metadata:
        raise fail(Reason(metadata["reason"]), f"{name}: {metadata['detail']}")
    if int(metadata["frames"]) != probe["frame_count"]:
        raise fail(
            Reason.TOOL_OUTPUT_INVALID,
            f"{name} read {metadata['frames']} frames, probe {probe['frame_count']}",
        )
    times_s = np.asarray(probe["frame_times_s"])[table["frame_index"].to_numpy()]
    apart_s = np.abs(times_s - table["time_s"].to_numpy())
    if apart_s.size and apart_s.max() > TIME_TOLERANCE_S:
        raise fail(Reason.TOOL_OUTPUT_INVALID, f"frame times differ by up to {apart_s.max():.3f} s")
