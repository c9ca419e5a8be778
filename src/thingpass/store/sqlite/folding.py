"""The folding process: the only writer of series.db. `python -m thingpass.store.sqlite.folding DATA_DIR`.

The server starts it and talks to it over its standard input and output (`folding_messages`). It is a process
of its own, so that folding takes neither the server's interpreter lock nor the write lock that commits need.
Between requests it settles folds and merges runs. It ends when its input ends, which is also how it notices
that the server was killed; signals that a terminal or a service manager sends to the whole group do not end
it before that.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from pathlib import Path
from typing import Final

import apsw

from thingpass.errors import ThingpassError
from thingpass.store.migrate import load_migrations, migrate
from thingpass.store.sqlite.connection import SqliteMigrations, open_connection, translated
from thingpass.store.sqlite.directory import DATABASE, FOLDING_LOCK, SERIES_DATABASE, DirectoryLock
from thingpass.store.sqlite.folder import Folder
from thingpass.store.sqlite.folding_messages import Answer, Failed, Ready, Request, decode_request, line

# Larger pages than SQLite's 4096: a chunk of up to 4 kB then needs no overflow page, of which the last one
# would be half empty on average.
PAGE_SIZE: Final = 16384

_LOCK_WAIT_S: Final = 30.0  # for the folding process of a server that was killed


class Requests:
    """The requests on standard input."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()

    def next(self, *, wait: bool) -> Request | None:
        """The next request; None when there is none yet and `wait` is false. Raises EOFError at the end."""
        while b"\n" not in self._received:
            if not wait and not select.select([self._descriptor], [], [], 0)[0]:
                return None
            data = os.read(self._descriptor, 65536)
            if not data:
                raise EOFError
            self._received += data
        text, _, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        request: Request = decode_request(text)
        return request


def answer(message: Answer) -> None:
    os.write(1, line(message))


def serve(folder: Folder, requests: Requests) -> None:
    """Until the input ends."""
    while True:
        try:
            busy = folder.tidy_some()
        except ThingpassError as error:
            sys.stderr.write(f"settling or merging failed: {error.sentence}\n")  # the server logs it
            busy = False
        request = requests.next(wait=not busy)
        if request is not None:
            for message in folder.carry_out(request):
                answer(message)
            gc.collect(1)


def open_series(directory: Path) -> apsw.Connection:
    """Creates or migrates series.db. Raises Unavailable."""
    series = open_connection(directory / SERIES_DATABASE, page_size=PAGE_SIZE)
    with translated():
        migrate(SqliteMigrations(series), load_migrations("sqlite", "series"), SERIES_DATABASE)
    return series


def main(directory: Path) -> int:
    # A fold makes hundreds of thousands of objects and no cycles: looking for some took a third of its time.
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        DirectoryLock(directory, FOLDING_LOCK).acquire(wait_s=_LOCK_WAIT_S)
        series = open_series(directory)
        journal = open_connection(directory / DATABASE, read_only=True)
        with translated():
            folder = Folder(series, journal)
    except ThingpassError as error:
        answer(Failed(0, error.code, error.sentence))
        return 1
    try:
        answer(Ready())
        serve(folder, Requests(0))
    except (EOFError, BrokenPipeError):
        pass
    journal.close()
    series.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
