"""OTA packages: rows here, their bytes in files."""

from __future__ import annotations

from typing import Final

import apsw

from thingpass.errors import Invalid, NotFound
from thingpass.store.rows import OTA_FIRMWARE, OtaData, OtaPackage, OtaPackagePage
from thingpass.store.sqlite.connection import Cell, Row, get_row
from thingpass.store.sqlite.database import Database
from thingpass.store.sqlite.package_files import NewFile, PackageFiles
from thingpass.store.sqlite.part import Part

COLUMNS: Final = (
    "o.id, o.created_at_ms, o.tenant_id, o.profile_id, o.kind, o.title, o.version, o.tag, o.url,"
    " o.additional_info_json, o.data_file_name, o.data_content_type, o.data_size, o.data_algorithm,"
    " o.data_checksum"
)
_PACKAGE: Final = f"SELECT {COLUMNS} FROM ota_packages o"
_OF_DEVICE: Final = (
    f"{_PACKAGE} WHERE o.id = (SELECT coalesce(d.{{own}}, p.default_{{own}}) FROM devices d"
    " JOIN device_profiles p ON p.id = d.profile_id WHERE d.id = ?)"
)
_ORDERS: Final = {
    "created_at_ms": "o.created_at_ms",
    "title": "o.title COLLATE NOCASE",
    "version": "o.version COLLATE NOCASE",
    "kind": "o.kind",
    "size": "o.data_size",
}
# Who may still need a package: a query that finds one, and ThingsBoard's sentence (REST reference, 8.2).
_USERS: Final = (
    (
        "SELECT 1 FROM devices WHERE firmware_id = ?1 UNION ALL"
        " SELECT 1 FROM devices WHERE software_id = ?1 LIMIT 1",
        "The otaPackage referenced by the devices cannot be deleted!",
    ),
    (
        "SELECT 1 FROM device_profiles WHERE default_firmware_id = ?1 OR default_software_id = ?1 LIMIT 1",
        "The otaPackage referenced by the device profile cannot be deleted!",
    ),
)


def own_column(kind: str) -> str:
    """The column of `devices` with its own package; with `default_` before it, that of its profile."""
    return "firmware_id" if kind == OTA_FIRMWARE else "software_id"


class OtaPackages(Part):
    _files: PackageFiles  # given by the store of which this is a part

    def open_packages(self) -> None:
        rows = self._database.find_all("SELECT data_name FROM ota_packages WHERE data_name IS NOT NULL", ())
        self._files.open({row[0] for row in rows})

    async def add_ota_package(self, package: OtaPackage) -> None:
        def add(connection: apsw.Connection) -> None:
            connection.execute(
                "INSERT INTO ota_packages (id, created_at_ms, tenant_id, profile_id, kind, title, version,"
                " tag, url, additional_info_json, search_text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(package.id, package.created_at_ms, package.tenant_id, package.profile_id),
                    *(package.kind, package.title, package.version, package.tag, package.url),
                    *(package.additional_info_json, package.title.casefold()),
                ),
            )

        await self._database.write(add)

    async def update_ota_package(self, package: OtaPackage) -> OtaPackage:
        def update(connection: apsw.Connection) -> OtaPackage:
            connection.execute(
                "UPDATE ota_packages SET additional_info_json = ? WHERE id = ?",
                (package.additional_info_json, package.id),
            )
            if connection.changes() == 0:
                raise NotFound("The package does not exist.")
            return read_package(get_row(connection, f"{_PACKAGE} WHERE o.id = ?", (package.id,)))

        return await self._database.write(update)

    async def remove_ota_package(self, package_id: str) -> None:
        def remove(connection: apsw.Connection) -> str | None:
            for used, sentence in _USERS:
                if connection.execute(used, (package_id,)).fetchone() is not None:
                    raise Invalid(sentence, mend="Take it from them first.")
            row = connection.execute(
                "DELETE FROM ota_packages WHERE id = ? RETURNING data_name", (package_id,)
            ).fetchone()
            if row is None:
                raise NotFound("The package does not exist.")
            name: str | None = row[0]
            return name

        name = await self._database.write(remove)
        if name is not None:
            await self._files.remove(name)

    async def find_ota_package(self, package_id: str) -> OtaPackage | None:
        row = self._database.find_one(f"{_PACKAGE} WHERE o.id = ?", (package_id,))
        return None if row is None else read_package(row)

    async def find_ota_package_of_device(self, device_id: str, kind: str) -> OtaPackage | None:
        row = self._database.find_one(_OF_DEVICE.format(own=own_column(kind)), (device_id,))
        return None if row is None else read_package(row)

    async def list_ota_packages(
        self,
        tenant_id: str,
        *,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
        fitting: tuple[str, str] | None = None,
    ) -> OtaPackagePage:
        if sort_by not in _ORDERS:
            raise Invalid(f"Packages cannot be sorted by {sort_by!r}.", mend=f"Use {', '.join(_ORDERS)}.")
        where = "o.tenant_id = ?"
        bindings: list[Cell] = [tenant_id]
        if text_search:
            where += " AND instr(o.search_text, ?) > 0"
            bindings.append(text_search.casefold())
        if fitting is not None:
            where += " AND (o.profile_id IS NULL OR o.profile_id = ?) AND o.kind = ?"
            where += " AND (o.data_size IS NOT NULL OR o.url IS NOT NULL)"
            bindings += fitting
        way = "DESC" if descending else "ASC"
        listing = f"{_PACKAGE} WHERE {where} ORDER BY {_ORDERS[sort_by]} {way}, o.id {way} LIMIT ? OFFSET ?"
        counting = f"SELECT count(*) FROM ota_packages o WHERE {where}"

        def read(connection: apsw.Connection) -> OtaPackagePage:
            with connection:  # both queries see the same state
                rows = connection.execute(listing, (*bindings, limit, offset)).fetchall()
                total = get_row(connection, counting, bindings)[0]
            return OtaPackagePage(tuple(read_package(row) for row in rows), total)

        return await self._database.scan(read)

    async def begin_ota_upload(self, package_id: str) -> Upload:
        return Upload(self._database, package_id, await self._files.create(), self._files)

    async def read_ota_data(self, package_id: str, offset: int, size: int) -> bytes:
        row = self._database.find_one("SELECT data_name FROM ota_packages WHERE id = ?", (package_id,))
        if row is None or row[0] is None:
            raise NotFound("The package does not exist or has no data.")
        return await self._files.read(row[0], offset, size)

    async def count_devices_without_ota_package(
        self, profile_id: str, kind: str, customer_id: str | None = None
    ) -> int:
        return await self._database.scan(
            lambda connection: count_followers(connection, profile_id, kind, customer_id)
        )


class Upload:
    """`store.store.OtaUpload`: the file first, then the row that names it; without a row it is nothing."""

    def __init__(self, database: Database, package_id: str, file: NewFile, files: PackageFiles) -> None:
        self._database = database
        self._package_id = package_id
        self._file = file
        self._files = files

    @property
    def size(self) -> int:
        return self._file.size

    async def write(self, data: bytes) -> None:
        await self._file.write(data)

    async def checksum(self, algorithm: str) -> str:
        return await self._file.checksum(algorithm)

    async def commit(self, data: OtaData) -> OtaPackage:
        package_id, name = self._package_id, self._file.name

        def commit(connection: apsw.Connection) -> OtaPackage:
            # Each upload has a file of its own, so of two at once the one that comes first here has won.
            connection.execute(
                "UPDATE ota_packages SET data_name = ?, data_file_name = ?, data_content_type = ?,"
                " data_size = ?, data_algorithm = ?, data_checksum = ?"
                " WHERE id = ? AND data_name IS NULL AND url IS NULL",
                (
                    *(name, data.file_name, data.content_type, data.size, data.algorithm, data.checksum),
                    package_id,
                ),
            )
            changed = connection.changes()
            row = connection.execute(f"{_PACKAGE} WHERE o.id = ?", (package_id,)).fetchone()
            if row is None:
                raise NotFound("The package does not exist.")
            if changed == 0:
                raise Invalid(
                    "Updating otaPackage data is prohibited!", mend="Add a package of a new version."
                )
            return read_package(row)

        await self._file.keep()
        try:
            return await self._database.write(commit)
        except (NotFound, Invalid):
            await self._files.remove(name)
            raise

    async def discard(self) -> None:
        await self._file.discard()


def count_followers(
    connection: apsw.Connection, profile_id: str, kind: str, customer_id: str | None = None
) -> int:
    sql = f"SELECT count(*) FROM devices WHERE profile_id = ? AND {own_column(kind)} IS NULL"
    values = [profile_id]
    if customer_id is not None:
        sql += " AND customer_id = ?"
        values.append(customer_id)
    count: int = get_row(connection, sql, values)[0]
    return count


def read_package(row: Row) -> OtaPackage:
    """From a row that begins with `COLUMNS`."""
    data = None
    if row[12] is not None:
        data = OtaData(
            file_name=row[10], content_type=row[11], size=row[12], algorithm=row[13], checksum=row[14]
        )
    return OtaPackage(
        id=row[0],
        created_at_ms=row[1],
        tenant_id=row[2],
        profile_id=row[3],
        kind=row[4],
        title=row[5],
        version=row[6],
        tag=row[7],
        url=row[8],
        additional_info_json=row[9],
        data=data,
    )
