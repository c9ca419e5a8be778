"""People who log in."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import Invalid, NotFound
from thingpass.store.rows import Activation, User, UserPage
from thingpass.store.sqlite.connection import Row, get_row
from thingpass.store.sqlite.part import Part

_USER: Final = (
    "SELECT id, created_at_ms, tenant_id, authority, email, password_hash, first_name, last_name, enabled,"
    " customer_id, phone, additional_info_json FROM users"
)
_ORDERS: Final = {
    "created_at_ms": "created_at_ms",
    "email": "email",
    "first_name": "first_name COLLATE NOCASE",
    "last_name": "last_name COLLATE NOCASE",
}


class Users(Part):
    async def add_user(self, user: User) -> None:
        def add(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO users (id, created_at_ms, tenant_id, authority, email, password_hash,"
                " first_name, last_name, enabled, customer_id, phone, additional_info_json)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                    user.customer_id,
                    user.phone,
                    user.additional_info_json,
                ),
            )

        await self._database.write(add)

    async def update_user(self, user: User) -> None:
        """Raises NotFound, AlreadyExists("users.email")."""
        columns = "email = ?, first_name = ?, last_name = ?, phone = ?, additional_info_json = ?"
        values = (user.email, user.first_name, user.last_name, user.phone, user.additional_info_json)
        await self._set(user.id, columns, values)

    async def set_user_password(self, user_id: str, password_hash: str) -> None:
        """Raises NotFound."""
        await self._set(user_id, "password_hash = ?", (password_hash,))

    async def set_user_enabled(self, user_id: str, enabled: bool) -> None:
        """Raises NotFound."""
        await self._set(user_id, "enabled = ?", (int(enabled),))

    async def _set(self, user_id: str, columns: str, values: tuple[str | int | None, ...]) -> None:
        def update(connection: apsw.Connection) -> None:
            connection.execute(f"UPDATE users SET {columns} WHERE id = ?", (*values, user_id))
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

    async def list_users(
        self,
        tenant_id: str,
        *,
        customer_id: str | None = None,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
    ) -> UserPage:
        """One page. Raises Invalid for `sort_by`."""
        if sort_by not in _ORDERS:
            raise Invalid(f"Users cannot be sorted by {sort_by!r}.", mend=f"Use {', '.join(_ORDERS)}.")
        where, bindings = "tenant_id = ?", [tenant_id]
        if customer_id is not None:
            where += " AND customer_id = ?"
            bindings.append(customer_id)
        if text_search:
            where += " AND instr(lower(email), ?) > 0"
            bindings.append(text_search.lower())
        way = "DESC" if descending else "ASC"
        listing = f"{_USER} WHERE {where} ORDER BY {_ORDERS[sort_by]} {way}, id {way} LIMIT ? OFFSET ?"

        def read(connection: apsw.Connection) -> UserPage:
            with connection:  # both queries see the same state
                rows = connection.execute(listing, (*bindings, limit, offset)).fetchall()
                total = get_row(connection, f"SELECT count(*) FROM users WHERE {where}", bindings)[0]
            return UserPage(tuple(_user(row) for row in rows), total)

        return await self._database.scan(read)

    async def remove_user(self, user_id: str, *, never_the_last: str) -> bool:
        """False for the tenant's last user of that authority. Raises NotFound."""

        def remove(connection: apsw.Connection) -> bool:
            row = connection.execute(f"{_USER} WHERE id = ?", (user_id,)).fetchone()
            if row is None:
                raise NotFound("The user does not exist.")
            user = _user(row)
            if user.authority == never_the_last:
                alike = "SELECT count(*) FROM users WHERE tenant_id = ? AND authority = ?"
                if get_row(connection, alike, (user.tenant_id, never_the_last))[0] == 1:
                    return False
            connection.execute("DELETE FROM users WHERE id = ?", (user_id,))
            return True

        return await self._database.write(remove)

    async def save_activation(self, activation: Activation) -> None:
        """Raises Invalid when the user does not exist."""
        await self._database.write(
            lambda connection: connection.execute(
                "INSERT INTO activations (user_id, token_sha256, expires_at_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (user_id) DO UPDATE"
                " SET token_sha256 = excluded.token_sha256, expires_at_ms = excluded.expires_at_ms",
                (activation.user_id, activation.token_sha256, activation.expires_at_ms),
            )
        )

    async def find_activation(self, token_sha256: str) -> Activation | None:
        row = self._database.find_one(
            "SELECT user_id, token_sha256, expires_at_ms FROM activations WHERE token_sha256 = ?",
            (token_sha256,),
        )
        return None if row is None else Activation(user_id=row[0], token_sha256=row[1], expires_at_ms=row[2])

    async def activate_user(self, token_sha256: str, password_hash: str) -> User | None:
        def activate(connection: apsw.Connection) -> User | None:
            row = connection.execute(
                "DELETE FROM activations WHERE token_sha256 = ? RETURNING user_id", (token_sha256,)
            ).fetchone()
            if row is None:
                return None
            connection.execute("UPDATE users SET password_hash = ? WHERE id = ?", (password_hash, row[0]))
            return _user(get_row(connection, f"{_USER} WHERE id = ?", (row[0],)))

        return await self._database.write(activate)


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
        customer_id=row[9],
        phone=row[10],
        additional_info_json=row[11],
    )
