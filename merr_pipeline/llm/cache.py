"""The answer cache: every valid answer that was ever paid for, in one SQLite file.

::

    answers(key TEXT PRIMARY KEY, model TEXT, answer TEXT, usage TEXT, created TEXT, stage TEXT)
    drafts(key TEXT PRIMARY KEY, answer TEXT, usage TEXT)
    clips(key TEXT, clip_id TEXT, sha256 TEXT)

``key`` is the hash of everything that shapes the answer (`request_key`), ``answer`` the text as the
model wrote it, ``usage`` the tokens it took (JSON), ``created`` the time in UTC, ``stage`` who
asked (null in rows from before that was noted). What is invalid, refused, empty or cut is no
answer. A first answer that does not fit is a draft while the model mends it: it is paid for, so
whoever is killed or out of money meanwhile goes on from it. ``clips`` says which clips an answer
was given to, by name and by content: one may serve several, and whatever was said of a clip can be
found.

Several processes may use the file at a time, and each may be killed at any time: SQLite's
write-ahead log keeps what was committed. Two that ask the same at the same time both pay, once. A
file that is damaged is set aside and told of, and a new one begun.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from merr_pipeline.llm.answers import Schema
from merr_pipeline.llm.messages import Message, as_hashed
from merr_pipeline.llm.prices import Usage
from merr_pipeline.schema import Clip, MerrError
from merr_pipeline.settings import ModelSettings
from merr_pipeline.stage import digest

KEY_VERSION = 1  # raise it when the same request would be sent in other words

TABLES_VERSION = 2  # the file's ``user_version``; older ones get what they lack when opened

WAIT_S = 60.0  # for another process that writes

_TABLES = (
    """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, answer TEXT NOT NULL, usage TEXT NOT NULL,
    created TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS clips (
    key TEXT NOT NULL, clip_id TEXT NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (key, clip_id, sha256)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS clips_by_id ON clips (clip_id)",
    "CREATE INDEX IF NOT EXISTS clips_by_sha256 ON clips (sha256)",
    """CREATE TABLE IF NOT EXISTS drafts (
    key TEXT PRIMARY KEY, answer TEXT NOT NULL, usage TEXT NOT NULL) WITHOUT ROWID""",
    f"PRAGMA user_version = {TABLES_VERSION}",
)

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

T = TypeVar("T")


def request_key(
    model: ModelSettings, messages: Sequence[Message], schema: Schema, sample: int = 0
) -> str:
    """Hex sha256 of everything that shapes an answer; media count by their own hash.

    How fast, how long, how often and where a model is asked is not in it; nor is the key.
    """
    return digest(
        {
            "version": KEY_VERSION,
            "settings": shaping(model),
            "schema": schema,
            "sample": sample,
            "messages": as_hashed(messages),
        }
    )


def shaping(model: ModelSettings) -> dict[str, Any]:
    """What of a model's settings shapes its answers; a stage has it in its identity."""
    return {
        "model": model.model,
        "revision": model.revision,
        "temperature": model.temperature,
        "seed": model.seed,
        "max_tokens": model.max_tokens,
        "json_mode": model.json_mode,
        "extra": model.extra,
    }


@dataclass(frozen=True)
class Stored:
    """An answer that was paid for before; a draft did not fit and was to be mended."""

    text: str
    usage: Usage
    is_draft: bool = False


class AnswerCache:
    """The cache in ``path``; all its methods are for one thread at a time.

    ``notes`` holds what a user must be told of.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def get(self, key: str, clip: Clip | None = None) -> Stored | None:
        """The answer to this request, else its draft; it is the clip's from now on."""
        found = self._run(_FIND, (key, key))
        try:
            stored = _stored(*found[0]) if found else None
        except (ValueError, TypeError):  # damaged where SQLite does not look
            return None
        if stored is not None and clip is not None and not self._run(_IS_OF, _link(key, clip)):
            self._run(_LINK, _link(key, clip))  # to read waits for nobody, to write may
        return stored

    def put(
        self,
        key: str,
        model: str,
        text: str,
        usage: Usage,
        clip: Clip | None = None,
        stage: str | None = None,
    ) -> None:
        """Keep a valid answer; it is safe from a kill when this returns, and known as the clip's.

        Its draft goes with that. Without a clip, nobody can tell whose it is.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = (key, model, text, usage.to_json(), now, stage)
        put = (f"INSERT OR REPLACE INTO answers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)
        self._all(put, (_DROP, (key,)), *_links(key, clip))

    def put_draft(self, key: str, text: str, usage: Usage, clip: Clip | None = None) -> None:
        """Keep a first answer that does not fit, before the model is asked to mend it."""
        row = (key, text, usage.to_json())
        self._all(("INSERT OR REPLACE INTO drafts VALUES (?, ?, ?)", row), *_links(key, clip))

    def drop_draft(self, key: str) -> None:
        """Forget a draft that led to no answer, and whose it was."""
        unlink = "DELETE FROM clips WHERE key = ? AND key NOT IN (SELECT key FROM answers)"
        self._all((_DROP, (key,)), (unlink, (key,)))

    def keys_of(self, clip_id: str, sha256: str) -> list[str]:
        """The keys of all answers to a clip: under this name, or to this content."""
        return [key for (key,) in self._run(f"{_KEYS_OF} ORDER BY key", (clip_id, sha256))]

    def forget(self, clip_id: str, sha256: str) -> int:
        """Delete the answers to a clip, under this name or to this content; how many.

        One that other clips have too stays, as theirs. Those of which no clip is known (from before
        the file noted them) may be this clip's, so they go with it. Nothing of what was deleted is
        left in the file, if no other process uses it meanwhile.
        """
        before = self._count()
        self._run("PRAGMA secure_delete = ON", ())
        self._all(
            ("DELETE FROM clips WHERE clip_id = ? OR sha256 = ?", (clip_id, sha256)),
            ("DELETE FROM answers WHERE key NOT IN (SELECT key FROM clips)", ()),
            ("DELETE FROM drafts WHERE key NOT IN (SELECT key FROM clips)", ()),
        )
        self._run("PRAGMA wal_checkpoint(TRUNCATE)", ())
        return before - self._count()

    def _count(self) -> int:
        both = "SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM drafts)"
        return int(self._run(both, ())[0][0])

    def mean_usage(self, model: str, stage: str, newest: int = 1000) -> Usage | None:
        """What an answer of this model to this stage took on average, of those written last.

        Where there is none, those count of which no stage is known; None if there is none either.
        """
        for whose in (stage, None):
            rows = self._run(_USAGES, (model, whose, newest))
            if rows:
                return Usage.mean([Usage.from_json(row[0]) for row in rows])
        return None

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: str, values: Sequence[Any]) -> list[Any]:
        return self._mending(lambda: self._open().execute(statement, values).fetchall())

    def _all(self, *statements: tuple[str, Sequence[Any]]) -> None:
        """All of them or none, whenever a kill comes."""

        def run() -> None:
            with _transaction(self._open()) as connection:
                for statement, values in statements:
                    connection.execute(statement, values)

        self._mending(run)

    def _mending(self, action: Callable[[], T]) -> T:
        """Do something with the file; begin a new one where it turns out to be damaged."""
        try:
            return action()
        except sqlite3.OperationalError as error:
            raise self._told(error) from error
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGED:
                raise
            self._set_aside()
        try:
            return action()
        except sqlite3.OperationalError as error:
            raise self._told(error) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            self._inode = self._path.stat().st_ino
            self._prepare(self._connection)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Set the file up. Two processes that begin it together may collide in spite of WAIT_S."""
        give_up = time.monotonic() + WAIT_S
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version > TABLES_VERSION:
                    self.close()
                    raise self._too_new(version)
                if version < TABLES_VERSION:
                    with _transaction(connection):
                        _bring_up_to_date(connection)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def _set_aside(self) -> None:
        """Rename a damaged file with its logs, unless another process has already done so."""
        with suppress(sqlite3.Error):
            self.close()
        self._connection = None
        if not self._path.exists() or self._path.stat().st_ino != self._inode:
            return
        names = (self._path.with_name(f"damaged-{n}-{self._path.name}") for n in count(1))
        aside = next(name for name in names if not os.path.lexists(name))
        for suffix in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).rename(
                    aside.with_name(aside.name + suffix)
                )
        self.notes.append(
            f"{self._path.name} was damaged and is set aside as {aside.name}: the answers in it "
            "are asked for, and paid for, again"
        )

    def _too_new(self, version: int) -> MerrError:
        return MerrError(
            f"the answer cache {self._path} was written by a newer merr_pipeline (its tables have "
            f"version {version}, this one knows {TABLES_VERSION}).\n"
            "Update merr_pipeline, or give another --out."
        )

    def _told(self, error: sqlite3.OperationalError) -> Exception:
        """A full disk as the house knows it; anything else as an error of the user's."""
        if _code(error) == sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        return MerrError(
            f"the answer cache {self._path} cannot be used: {error}.\n"
            "It must lie on a local disk, where files can be locked and written."
        )


_COLUMNS = "key, model, answer, usage, created, stage"
_FIND = """SELECT answer, usage, 0 AS is_draft FROM answers WHERE key = ?
    UNION ALL SELECT answer, usage, 1 FROM drafts WHERE key = ? ORDER BY is_draft"""
_USAGES = "SELECT usage FROM answers WHERE model = ? AND stage IS ? ORDER BY created DESC LIMIT ?"
_DROP = "DELETE FROM drafts WHERE key = ?"
_LINK = "INSERT OR IGNORE INTO clips VALUES (?, ?, ?)"
_IS_OF = "SELECT 1 FROM clips WHERE key = ? AND clip_id = ? AND sha256 = ?"
_KEYS_OF = "SELECT DISTINCT key FROM clips WHERE clip_id = ? OR sha256 = ?"


def _link(key: str, clip: Clip) -> tuple[str, str, str]:
    return key, clip.clip_id, clip.sha256


def _links(key: str, clip: Clip | None) -> list[tuple[str, Sequence[Any]]]:
    return [] if clip is None else [(_LINK, _link(key, clip))]


def _stored(text: str, usage: str, is_draft: int) -> Stored:
    return Stored(text, Usage.from_json(usage), bool(is_draft))


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make the tables, and add what a file from before lacks. Another process may just have."""
    for statement in _TABLES:
        connection.execute(statement)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(answers)")}
    if "stage" not in columns:
        connection.execute("ALTER TABLE answers ADD COLUMN stage TEXT")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """What is done inside the block is done as one, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite ends some by itself
            connection.execute("ROLLBACK")
        raise


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error that SQLite did not raise."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
