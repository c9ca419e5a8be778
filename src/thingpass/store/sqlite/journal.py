"""The journal: one row for each batch of samples, the commit that acknowledgements wait for.

A row holds the samples as one blob, in arrival order. Ids are given here, not by SQLite: they go on rising
when the table has been emptied, because series.db remembers the highest id that it has folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import apsw
import msgspec

from thingpass.errors import Unavailable
from thingpass.store.sqlite.connection import get_row

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode

_DROP_SLICE: Final = 64  # rows; about 2 ms of the writer's time at 500 messages a row


def encode_batch(samples: Sequence[tuple[int, bytes]]) -> bytes:
    """(device number, `encode_sample(...)`) pairs as one blob."""
    return _encode(samples)


def decode_batch(blob: bytes) -> list[tuple[int, bytes]]:
    """Raises Unavailable (code `store-corrupt`)."""
    try:
        return _decode(blob)
    except msgspec.MsgspecError as error:
        raise Unavailable(
            f"The journal is damaged: {error}.", mend="Restore a backup.", code="store-corrupt"
        ) from error


def insert_batch(connection: apsw.Connection, journal_id: int, messages: int, blob: bytes) -> None:
    connection.execute(
        "INSERT INTO journal (id, messages, batch) VALUES (?, ?, ?)", (journal_id, messages, blob)
    )


def read_batches(connection: apsw.Connection, after: int, through: int) -> Iterator[tuple[int, bytes]]:
    """(journal id, blob) with after < id <= through, in order.

    One short query a row: a reader that stays in one query would keep the write-ahead log from being reused.
    """
    while True:
        row = connection.execute(
            "SELECT id, batch FROM journal WHERE id > ? AND id <= ? ORDER BY id LIMIT 1", (after, through)
        ).fetchone()
        if row is None:
            return
        after = row[0]
        yield after, row[1]


def last_id(connection: apsw.Connection) -> int:
    """0 when the journal is empty."""
    highest: int | None = get_row(connection, "SELECT max(id) FROM journal")[0]
    return highest or 0


def drop_slice(connection: apsw.Connection, through: int) -> int:
    """Deletes some of the rows with id <= through; gives how many. 0 means that none is left."""
    connection.execute(
        "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE id <= ? ORDER BY id LIMIT ?)",
        (through, _DROP_SLICE),
    )
    return connection.changes()
