"""Run ``merr`` with the arguments given, and print what this process took: JSON, the last line."""

from __future__ import annotations

import json
import os
import time

from measuring.processes import peak_mb
from merr_pipeline.cli import main

if __name__ == "__main__":
    try:
        main()  # ends with the exit code
    finally:
        print(json.dumps({"cpu_s": time.process_time(), "peak_mb": peak_mb(os.getpid())}))
