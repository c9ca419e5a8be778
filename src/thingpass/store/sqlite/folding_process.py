"""The server's end of the folding process: starts it, asks it, notices when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from thingpass.errors import Unavailable
from thingpass.store.sqlite.folding_messages import (
    Answer,
    Failed,
    Folded,
    Ready,
    Request,
    decode_answer,
    line,
)

_MODULE: Final = "thingpass.store.sqlite.folding"
_LINE_LIMIT: Final = 1 << 20
_STOP_S: Final = 1.5  # for the step it is in; what it has not committed by then is done again after the start

_log = structlog.get_logger(__name__)


class FoldingProcess:
    """One child at a time; `carry_out` starts it where it does not run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: asyncio.Task[None] | None = None
        self._requests = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Returns when the child has migrated series.db. Raises Unavailable."""
        if self._process is not None:
            return
        # The child sees the same packages as we do, and -P keeps the working directory out of its path.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            _MODULE,
            str(self._directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=_LINE_LIMIT,
        )
        self._stderr = asyncio.create_task(_log_lines(self._process), name="folding-stderr")
        match await self._receive():
            case Ready():
                return
            case Failed(code=code, sentence=sentence):
                await self.stop()
                raise Unavailable(sentence, code=code)
            case unexpected:
                await self.stop()
                raise Unavailable(f"The folding process answered {type(unexpected).__name__} at its start.")

    async def carry_out(
        self, ask: Callable[[int], Request], folded: Callable[[Folded], Awaitable[None]] | None = None
    ) -> None:
        """Sends what `ask` makes of a request number and returns when it is done; `folded` hears of progress.

        Raises Unavailable when it is not done. One request at a time.
        """
        await self.start()
        self._requests += 1
        request = ask(self._requests)
        await self._send(request)
        while True:
            answer = await self._receive()
            if answer.request != request.request:
                continue  # of a request whose asker was cancelled
            match answer:
                case Folded():
                    if folded is not None:
                        await folded(answer)
                case Failed(code=code, sentence=sentence):
                    raise Unavailable(sentence, code=code)
                case _:
                    return

    async def stop(self) -> None:
        """Ends the child: it stops when its input ends, and is killed when that takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            # Safe at any point: what is not committed is folded again from the journal.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._stderr is not None:
            await self._stderr
            self._stderr = None

    async def _send(self, request: Request) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line(request))
            await self._process.stdin.drain()
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for a pipe that is closed
            await self.stop()
            raise Unavailable("The folding process has ended.", code="folding-ended") from error

    async def _receive(self) -> Answer:
        assert self._process is not None
        assert self._process.stdout is not None
        text = await self._process.stdout.readline()
        if not text.endswith(b"\n"):
            code = await self._process.wait()
            await self.stop()
            raise Unavailable(f"The folding process ended (exit code {code}).", code="folding-ended")
        answer: Answer = decode_answer(text)
        return answer


async def _log_lines(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    async for text in process.stderr:
        _log.warning("folding_process_says", text=text.decode("utf-8", "replace").rstrip())
