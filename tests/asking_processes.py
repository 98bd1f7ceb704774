"""Processes that put questions to a door of their own, to be killed or to be several."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

ASKING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from doors import ask, llm, question
questions = [question(f"clip {n}") for n in range(int(sys.argv[4]))]
print("asking", flush=True)
settings = llm(sys.argv[2], concurrency=int(sys.argv[5]), timeout_s=60)
outcome = ask(settings, Path(sys.argv[3]), *questions, together=True)
print(len(outcome.answers), sum(a.from_cache for a in outcome.answers), flush=True)
"""


def asking(url: str, folder: Path, questions: int, at_once: int = 16) -> subprocess.Popen[str]:
    """Asks for ``clip 0`` and so on; prints ``asking``, answers, and answers from the cache."""
    arguments = [str(TESTS), url, str(folder), str(questions), str(at_once)]
    return subprocess.Popen(
        [sys.executable, "-c", ASKING, *arguments], stdout=subprocess.PIPE, text=True
    )
