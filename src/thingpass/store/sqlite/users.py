"""People who log in."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import NotFound
from thingpass.store.rows import User
from thingpass.store.sqlite.connection import Row
from thingpass.store.sqlite.part import Part

_USER: Final = (
    "SELECT id, created_at_ms, tenant_id, authority, email, password_hash, first_name, last_name, enabled"
    " FROM users"
)


class Users(Part):
    async def add_user(self, user: User) -> None:
        def add(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO users (id, created_at_ms, tenant_id, authority, email, password_hash,"
                " first_name, last_name, enabled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    user.id,
                    user.created_at_ms,
                    user.tenant_id,
                    user.authority,
                    user.email,
                    user.password_hash,
                    user.first_name,
                    user.last_name,
                    int(user.enabled),
                ),
            )

        await self._database.write(add)

    async def update_user(self, user: User) -> None:
        """Raises NotFound, AlreadyExists("users.email")."""

        def update(connection: apsw.Connection) -> None:
            connection.execute(
                "UPDATE users SET authority = ?, email = ?, password_hash = ?, first_name = ?, last_name = ?,"
                " enabled = ? WHERE id = ?",
                (
                    user.authority,
                    user.email,
                    user.password_hash,
                    user.first_name,
                    user.last_name,
                    int(user.enabled),
                    user.id,
                ),
            )
            if connection.changes() == 0:
                raise NotFound("The user does not exist.")

        await self._database.write(update)

    async def find_user_by_email(self, email: str) -> User | None:
        """Upper and lower case of ASCII letters are the same."""
        row = self._database.find_one(f"{_USER} WHERE email = ?", (email,))
        return None if row is None else _user(row)

    async def find_user(self, user_id: str) -> User | None:
        row = self._database.find_one(f"{_USER} WHERE id = ?", (user_id,))
        return None if row is None else _user(row)

    async def count_users(self) -> int:
        row = self._database.find_one("SELECT count(*) FROM users", ())
        assert row is not None
        assert isinstance(row[0], int)
        return row[0]


def _user(row: Row) -> User:
    return User(
        id=row[0],
        created_at_ms=row[1],
        tenant_id=row[2],
        authority=row[3],
        email=row[4],
        password_hash=row[5],
        first_name=row[6],
        last_name=row[7],
        enabled=bool(row[8]),
    )
