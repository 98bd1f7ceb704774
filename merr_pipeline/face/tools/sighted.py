"""From a mesh program's table to sightings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from merr_pipeline.face.tracks import Box, Sighting
from merr_pipeline.schema import Row

MORE_FACES = "more_faces_than_tracked"  # some faces have no track: max_faces is too low for them


def mesh_sightings(table: pa.Table, probe: Row) -> list[Sighting]:
    """One sighting per row (see `meshes.FACE_FIELDS`), at the times of probe."""
    times_s: list[float] = probe["frame_times_s"]
    rows: list[dict[str, Any]] = table.to_pylist()
    return [
        Sighting(
            frame_index=row["frame_index"],
            time_s=times_s[row["frame_index"]],
            box=Box(row["x"], row["y"], row["width"], row["height"]),
            confidence=row["score"],
            landmarks=np.asarray(row["landmarks"], np.float64).reshape(-1, 3),
            source_row=number,
        )
        for number, row in enumerate(rows)
    ]
