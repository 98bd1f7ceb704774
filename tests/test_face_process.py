"""The driver, with a real child that answers, dies, dawdles or never starts, as it is told."""

import os
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from merr_pipeline.face.tools import process
from merr_pipeline.face.tools.environment import install
from merr_pipeline.face.tools.process import ToolDied, ToolNotThere, ToolProcess, ToolTooSlow
from merr_pipeline.schema import MerrError

CHILD = """
import json, os, struct, subprocess, sys, time
import pyarrow as pa

def send(**metadata):
    sink = pa.BufferOutputStream()
    schema = pa.schema({"n": pa.int64()}).with_metadata({k: str(v) for k, v in metadata.items()})
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table({"n": [1, 2]}, schema=schema))
    message = sink.getvalue()
    sys.stdout.buffer.write(struct.pack("<Q", message.size) + message)
    sys.stdout.buffer.flush()

send(ready="1")
for line in sys.stdin:
    request = json.loads(line)
    if request.get("grandchild"):
        inner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open(request["grandchild"], "w").write(str(inner.pid))
    time.sleep(request.get("sleep_s", 0))
    if request.get("die"):
        os._exit(3)
    send(pid=os.getpid(), echo=request.get("echo", ""))
"""


@pytest.fixture
def tool(tmp_path):
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    tool = ToolProcess([sys.executable, str(program)], os.environ)
    yield tool
    tool.close()


def metadata(table: pa.Table) -> dict[bytes, bytes]:
    return table.schema.metadata


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_one_child_answers_many_requests(tool):
    answers = [tool.ask({"echo": word}, 10) for word in ("one", "two")]

    assert [metadata(answer)[b"echo"] for answer in answers] == [b"one", b"two"]
    assert metadata(answers[0])[b"pid"] == metadata(answers[1])[b"pid"]
    assert answers[0]["n"].to_pylist() == [1, 2]


def test_a_child_that_dies_is_said_so_and_the_next_request_gets_a_new_one(tool):
    before = metadata(tool.ask({}, 10))[b"pid"]
    with pytest.raises(ToolDied):
        tool.ask({"die": True}, 10)
    assert metadata(tool.ask({}, 10))[b"pid"] != before


def test_a_child_that_takes_too_long_is_killed_with_all_that_it_started(tool, tmp_path):
    tool.ask({}, 10)
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(ToolTooSlow):
        tool.ask({"sleep_s": 60, "grandchild": str(pid_file)}, 1.0)

    assert time.monotonic() - began < 10
    for _ in range(100):
        if not is_alive(int(pid_file.read_text())):
            break
        time.sleep(0.02)
    assert not is_alive(int(pid_file.read_text()))
    assert tool.ask({"echo": "again"}, 10).num_rows == 2


def test_the_time_to_start_up_does_not_count_against_the_clip(tool, tmp_path):
    program = tmp_path / "child.py"
    program.write_text("import time; time.sleep(0.5)\n" + CHILD)
    assert tool.ask({}, 0.45).num_rows == 2


def test_a_program_that_ends_at_once_is_not_there(tmp_path):
    tool = ToolProcess([sys.executable, "-c", "raise SystemExit(2)"], os.environ)
    with pytest.raises(ToolNotThere):
        tool.ask({}, 10)


def test_a_program_that_never_gets_ready_is_not_there():
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    tool = ToolProcess(command, os.environ, start_limit_s=0.2)
    with pytest.raises(ToolNotThere):
        tool.ask({}, 10)


def test_closing_ends_the_child(tool):
    pid = int(metadata(tool.ask({}, 10))[b"pid"])
    tool.close()
    assert not is_alive(pid)


def test_a_child_ends_by_itself_when_the_one_who_asked_is_killed(tmp_path):
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    worker = f"""
import os, signal, sys
from merr_pipeline.face.tools.process import ToolProcess
tool = ToolProcess([sys.executable, {str(program)!r}], os.environ)
print(tool.ask({{}}, 10).schema.metadata[b"pid"].decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    repo = Path(__file__).parent.parent
    done = process.subprocess.run(
        [sys.executable, "-c", worker], capture_output=True, text=True, cwd=repo, check=False
    )
    pid = int(done.stdout)
    for _ in range(200):
        if not is_alive(pid):
            break
        time.sleep(0.02)
    assert not is_alive(pid)


def test_a_tool_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(MerrError, match="there is facemesh"):
        install("facemash")
