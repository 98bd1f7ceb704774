"""Where a build asks models: one event loop with one door, in a thread of the parent."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING

from merr_pipeline.llm.stage import CallStage
from merr_pipeline.schema import Row
from merr_pipeline.stage import Work

if TYPE_CHECKING:  # to import it takes a second, which only builds that ask models shall pay
    from merr_pipeline.llm.client import Door

LAST_ANSWERS_S = 30.0  # that a run which cannot go on waits for answers on their way


class Caller:
    """Asks models for the rows of stages; from as many threads as wait for them.

    The door is opened here, so that a model without a server or a key is told of before anything
    runs; the thread begins with the first question.
    """

    def __init__(self, open_door: Callable[[], Door]) -> None:
        self.door = open_door()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="models", daemon=True)
        self._starting = threading.Lock()

    def annotate(self, stage: CallStage, works: Sequence[Work]) -> list[Row]:
        """One row per clip, in order; waits for the last of them.

        Raises:
            MerrError: no clip can be asked about.
            CancelledError: `stop` was called.
        """
        with self._starting:
            if not self._thread.ident:
                gc.freeze()  # plan and modules stay: to look through them costs 2.5 ms a clip
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._all(stage, works), self._loop).result()

    async def _all(self, stage: CallStage, works: Sequence[Work]) -> list[Row]:
        """The rows; what can only fail is let fail after the others have ended and are kept."""
        asked = (stage.ask_one(work, self.door) for work in works)
        ended = await asyncio.gather(*asked, return_exceptions=True)
        rows: list[Row] = []
        for row in ended:
            if isinstance(row, BaseException):
                raise row
            rows.append(row)
        return rows

    def stop(self) -> None:
        """End all calls now. Answers that have come are in the cache.

        Where a model cannot be used, nothing more is sent; what is on its way is paid for and may
        still come.
        """
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self.door.is_unusable:
            self._loop.call_later(LAST_ANSWERS_S, self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def close(self) -> None:
        """Close connections and cache, and end the thread."""
        with self._starting:
            if self._thread.is_alive():
                closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
                with suppress(CancelledError):  # stopped in the middle of it
                    closing.result()
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                gc.unfreeze()
            else:
                self._loop.run_until_complete(self._close())
            self._loop.close()

    async def _close(self) -> None:
        await self.door.__aexit__(None, None, None)
