"""The 88 functionals of eGeMAPSv02, by openSMILE; only where ``voice.egemaps`` asks for them.

openSMILE is under audEERING's research licence, which forbids commercial use, so it is an extra
(``egemaps``) and nothing here imports it unasked.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from merr_pipeline.schema import MerrError, Row
from merr_pipeline.stage import Exact

PACKAGE = "opensmile"
SET = "eGeMAPSv02"
TERMS = "openSMILE is for research only: its licence by audEERING forbids commercial use"
HOW = f"pip install 'merr-pipeline[egemaps]', or voice.egemaps=false. {TERMS}"
DIGITS = 6  # significant ones; the values are float32, and some are far under a thousandth
LEAST_S = 0.1  # of sound; windows of 60 ms


class EgemapsError(MerrError):
    """eGeMAPS is asked for, and openSMILE is not installed."""


def installed_version() -> str | None:
    """The version of openSMILE, without importing it; None where it is not installed."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def tool_version() -> str:
    """What stands in a fingerprint.

    Raises:
        EgemapsError: openSMILE is not installed.
    """
    found = installed_version()
    if found is None:
        raise EgemapsError(f"voice.egemaps asks for openSMILE, which is not installed: {HOW}")
    return f"{PACKAGE} {found} ({SET})"


class Egemaps:
    """openSMILE with the set's configuration, loaded once."""

    def __init__(self) -> None:
        tool_version()
        import opensmile

        self._smile: Any = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.Functionals,
        )

    def measure(self, samples: np.ndarray, rate_hz: int) -> list[Row] | None:
        """``name, value`` of each functional over the whole of a mono sound, in the set's order.

        Speech, pauses and background together, as the set is used. What openSMILE gives no number
        for is None; a sound under `LEAST_S` has none at all.
        """
        if len(samples) < LEAST_S * rate_hz:
            return None
        values = self._smile.process_signal(samples.astype(np.float32), rate_hz).iloc[0]
        return [
            {"name": str(name), "value": _significant(float(value))}
            for name, value in values.items()
        ]


def _significant(value: float) -> Exact | None:
    return Exact(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
