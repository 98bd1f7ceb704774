"""An OpenFace that does as it is told: a small program that behaves as the real one was seen to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

PROGRAM = """#!{python} -IS
import json, os, signal, subprocess, sys, time

HERE = os.path.dirname(os.path.realpath(__file__))
WORDS = sys.argv[1:]
GIVEN = dict(zip(WORDS, WORDS[1:]))  # a flag and the word behind it; unknown flags are ignored
CLIP = GIVEN.get("-f", "")
OUT = GIVEN.get("-out_dir", "./processed")
NAME = GIVEN.get("-of", os.path.basename(CLIP).rpartition(".")[0])
RESULT = open(HERE + "/result.csv").read()
OUTPUTS = {{"-aus", "-pose", "-gaze", "-2Dfp"}} & set(WORDS)

with open(HERE + "/calls", "a") as calls:
    call = {{"words": WORDS, "folder": os.getcwd(), "input": sys.stdin.read(), "pid": os.getpid()}}
    calls.write(json.dumps(call) + "\\n")

def say(*lines):
    for line in lines:
        print(line, flush=True)

def write(text, suffix=".csv"):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, NAME + suffix), "w") as file:
        file.write(text)

def raw(text):
    head, *rows = text.splitlines()
    place = head.split(", ").index("AU01_r")
    cells = [row.split(", ") for row in rows]
    return "\\n".join([head] + [", ".join(c[:place] + ["-0.31"] + c[place + 1:]) for c in cells])

def start():
    say("Attempting to read from file: " + CLIP, "Device or file opened", "Starting tracking")

def close():
    say("Closing output recorder", "Closing input reader", "Closed successfully")

def run(text=RESULT):
    start()
    write(raw(text))  # it grows with raw values, and is put right after it was closed
    if not OUTPUTS:
        write("", ".hog")
        write("", ".avi")
    close()
    say("Postprocessing the Action Unit predictions")
    write(text)

{behaviour}
"""

CANNOT_OPEN = 'say("Failed to open the video file at location: " + CLIP, "exiting with 0 status")'
NO_LANDMARK_MODEL = 'say("ERROR: Could not load the landmark detector"); sys.exit(1)'
NO_UNIT_MODELS = """
say("WARNING: no Action Unit models found")
run(RESULT.replace("_r", "_x"))
"""
CANNOT_MAKE_FOLDER = """
say("terminate called after throwing an instance of 'boost::filesystem::filesystem_error'",
    "  what():  boost::filesystem::create_directories: Permission denied: " + OUT)
os.abort()
"""
NO_FRAME_DECODES = """
start()
write(RESULT.splitlines()[0] + "\\n")
close()
os.kill(os.getpid(), signal.SIGSEGV)
"""
KILLED_IN_MID_CLIP = """
start()
write(raw(RESULT))
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITES_RAW_ROWS = "start(); write(raw(RESULT) + '\\n'); close()"
NEVER_CLOSES = "start(); write(RESULT)"
HALF = 'run("\\n".join(RESULT.splitlines()[:6]) + "\\n")'
HEADER_ONLY = 'run(RESULT.splitlines()[0] + "\\n")'
LAST_ROW_CUT = "run(RESULT[:-300])"
LAST_LINE_OPEN = 'run(RESULT.rstrip("\\n"))'
NO_SMILE = 'run(RESULT.replace("AU12_r", "AU12_x"))'
HANGS = """
inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with open(HERE + "/inner", "w") as file:
    file.write(str(inner.pid))
start()
write(raw(RESULT))
time.sleep(60)
"""
BURNS_TIME = "start()\nwhile True: pass"
WRITES_ELSEWHERE = 'OUT = "./processed"; run()'
GARBAGE = """
sys.stdout.buffer.write(bytes(range(256)) * 400)
sys.stdout.buffer.flush()
"""
EATS_MEMORY = """
start()
try:
    memory = bytearray(10**15)
except MemoryError:
    say("terminate called after throwing an instance of 'std::bad_alloc'", "  what():  bad_alloc")
    os.abort()
"""


def write_fake(folder: Path, result: str, behaviour: str = "run()") -> Path:
    """Put a program into the folder that would give ``result`` if it behaved."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.csv").write_text(result)
    program = folder / "FeatureExtraction"
    program.write_text(PROGRAM.format(python=sys.executable, behaviour=behaviour))
    program.chmod(0o755)
    return program


def calls_of(program: Path) -> list[dict]:
    """How it was called, each time."""
    calls = program.with_name("calls")
    return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


DOCKER = """#!{python} -IS
import csv, json, os, signal, subprocess, sys

HERE = os.path.dirname(os.path.realpath(__file__))
WORDS = sys.argv[1:]
with open(HERE + "/docker_calls", "a") as calls:
    calls.write(json.dumps(WORDS) + "\\n")

def after(flag):
    return [WORDS[i + 1] for i, word in enumerate(WORDS) if word == flag]

if not {answers}:
    print("Cannot connect to the Docker daemon")
    sys.exit(125 if WORDS[0] == "run" else 1)
if WORDS[:2] == ["image", "inspect"]:
    print("sha256:" + "ab" * 32)
elif WORDS[0] == "rm":
    os.kill(int(open(HERE + "/" + WORDS[-1]).read()), signal.SIGKILL)
elif WORDS[0] == "run":
    mounts = [dict(f.partition("=")[::2] for f in row) for row in csv.reader(after("--mount"))]
    inside = {{mount["target"]: mount["source"] for mount in mounts}}
    program = HERE + after("--entrypoint")[0]
    words = WORDS[WORDS.index("openface:test") + 1:]
    command = [program, *(inside.get(word, word) for word in words)]
    container = subprocess.Popen(command, start_new_session=True)  # it outlives this client
    with open(HERE + "/" + after("--name")[0], "w") as file:
        file.write(str(container.pid))
    sys.exit(container.wait() % 256)
"""


def write_fake_docker(folder: Path, *, answers: bool = True) -> None:
    """Put a ``docker`` into the folder, whose images hold what lies under ``<folder>/<path>``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docker").write_text(DOCKER.format(python=sys.executable, answers=answers))
    (folder / "docker").chmod(0o755)


def docker_calls(folder: Path) -> list[list[str]]:
    """How docker was called, each time."""
    return [json.loads(line) for line in (folder / "docker_calls").read_text().splitlines()]
