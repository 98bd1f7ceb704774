"""On PYTHONPATH this stops the worker processes of a build at a named place (`stopped_build`).

It is for builds that something else has started: here, a Prefect worker.
"""

import os
import sys
from pathlib import Path

if "STOP_AT" in os.environ and "--multiprocessing-fork" in sys.orig_argv:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    import stopped_build  # noqa: F401 - which wraps the place
