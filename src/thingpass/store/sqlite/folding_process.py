"""The server's end of the folding process: starts it, asks it, notices when it is gone."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog

from thingpass.errors import Unavailable
from thingpass.store.sqlite.folding_messages import (
    Answer,
    Done,
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

    async def carry_out(self, request: Request) -> AsyncIterator[Folded]:
        """Gives its progress; ends when the request is done. Raises Unavailable when it is not."""
        await self.start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(line(request))
        while True:
            match await self._receive():
                case Folded() as folded:
                    yield folded
                case Done():
                    return
                case Failed(code=code, sentence=sentence):
                    raise Unavailable(sentence, code=code)
                case Ready():
                    raise Unavailable("The folding process began anew in the middle of a request.")

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
            process.kill()
            await process.wait()
        if self._stderr is not None:
            await self._stderr
            self._stderr = None

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
