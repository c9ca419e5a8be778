"""What the parts of the store that keep rows in `thingpass.db` share: the database."""

from __future__ import annotations

from thingpass.store.sqlite.database import Database


class Part:
    def __init__(self, database: Database) -> None:
        self._database = database
