"""The programs that measure faces, and how they are installed and driven."""

from merr_pipeline.face.tools.environment import PROGRAMS, install, installed_version

TOOLS = tuple(PROGRAMS)
"""Names that `install` knows."""

__all__ = ["TOOLS", "install", "installed_version"]
