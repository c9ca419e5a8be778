"""Customers: whom a tenant gives devices to."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import Invalid, NotFound, ThingpassError
from thingpass.store.rows import Customer, CustomerPage
from thingpass.store.sqlite.connection import Cell, Row, get_row
from thingpass.store.sqlite.part import Part

_TEXTS: Final = ("title", "email", "phone", "country", "state", "city", "address", "address2", "zip")
_CHANGEABLE: Final = (*_TEXTS, "additional_info_json", "search_text")
_CUSTOMER: Final = (
    f"SELECT id, created_at_ms, tenant_id, {', '.join(_TEXTS)}, additional_info_json, version FROM customers"
)
_ORDERS: Final = {
    "created_at_ms": "created_at_ms",
    "title": "title COLLATE NOCASE",
    "email": "email COLLATE NOCASE",
    "country": "country COLLATE NOCASE",
    "city": "city COLLATE NOCASE",
}


class Customers(Part):
    async def add_customer(self, customer: Customer) -> None:
        """Raises AlreadyExists("customers.title")."""
        columns = (
            *_TEXTS,
            "additional_info_json",
            "search_text",
            "id",
            "created_at_ms",
            "tenant_id",
            "version",
        )
        sql = f"INSERT INTO customers ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        values = (
            *_changeable(customer),
            customer.id,
            customer.created_at_ms,
            customer.tenant_id,
            customer.version,
        )
        await self._database.write(lambda connection: connection.execute(sql, values))

    async def update_customer(self, customer: Customer) -> Customer:
        """Stores everything but id, time and tenant, under the next version.

        Raises NotFound, AlreadyExists("customers.title"), and ThingpassError with the code
        `version-conflict` when somebody else changed it since `customer.version`.
        """

        def update(connection: apsw.Connection) -> Customer:
            stored = connection.execute(f"{_CUSTOMER} WHERE id = ?", (customer.id,)).fetchone()
            if stored is None:
                raise NotFound("The customer does not exist.")
            if _customer(stored).version != customer.version:
                raise ThingpassError(
                    "Customer was already changed by someone else.",
                    mend="Read it again, then change it.",
                    code="version-conflict",
                )
            connection.execute(
                f"UPDATE customers SET {' = ?, '.join(_CHANGEABLE)} = ?, version = version + 1 WHERE id = ?",
                (*_changeable(customer), customer.id),
            )
            return _customer(get_row(connection, f"{_CUSTOMER} WHERE id = ?", (customer.id,)))

        return await self._database.write(update)

    async def remove_customer(self, customer_id: str) -> tuple[str, ...]:
        """With its users; gives the ids of the devices that it had. Raises NotFound."""

        def remove(connection: apsw.Connection) -> tuple[str, ...]:
            devices: list[Row] = connection.execute(
                "UPDATE devices SET customer_id = NULL, version = version + 1 WHERE customer_id = ?"
                " RETURNING id",
                (customer_id,),
            ).fetchall()
            connection.execute("DELETE FROM customers WHERE id = ?", (customer_id,))
            if connection.changes() == 0:
                raise NotFound("The customer does not exist.")
            return tuple(row[0] for row in devices)

        return await self._database.write(remove)

    async def find_customer(self, customer_id: str) -> Customer | None:
        row = self._database.find_one(f"{_CUSTOMER} WHERE id = ?", (customer_id,))
        return None if row is None else _customer(row)

    async def find_customer_by_title(self, tenant_id: str, title: str) -> Customer | None:
        row = self._database.find_one(f"{_CUSTOMER} WHERE tenant_id = ? AND title = ?", (tenant_id, title))
        return None if row is None else _customer(row)

    async def list_customers(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
    ) -> CustomerPage:
        """One page. `text_search` is a part of the title in any case. Raises Invalid for `sort_by`."""
        if sort_by not in _ORDERS:
            raise Invalid(f"Customers cannot be sorted by {sort_by!r}.", mend=f"Use {', '.join(_ORDERS)}.")
        where, bindings = "tenant_id = ?", [tenant_id]
        if text_search:
            where += " AND instr(search_text, ?) > 0"
            bindings.append(text_search.casefold())
        way = "DESC" if descending else "ASC"
        listing = f"{_CUSTOMER} WHERE {where} ORDER BY {_ORDERS[sort_by]} {way}, id {way} LIMIT ? OFFSET ?"

        def read(connection: apsw.Connection) -> CustomerPage:
            with connection:  # both queries see the same state
                rows = connection.execute(listing, (*bindings, limit, offset)).fetchall()
                total = get_row(connection, f"SELECT count(*) FROM customers WHERE {where}", bindings)[0]
            return CustomerPage(tuple(_customer(row) for row in rows), total)

        return await self._database.scan(read)


def _changeable(customer: Customer) -> tuple[Cell, ...]:
    texts: list[str | None] = [getattr(customer, name) for name in _TEXTS]
    return (*texts, customer.additional_info_json, customer.title.casefold())


def _customer(row: Row) -> Customer:
    texts = dict(zip(_TEXTS, row[3:12], strict=True))
    return Customer(
        id=row[0],
        created_at_ms=row[1],
        tenant_id=row[2],
        additional_info_json=row[12],
        version=row[13],
        **texts,
    )
