"""What a schema declares, as values."""

from __future__ import annotations

import msgspec


class FieldDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    name: str
    number: int
    type_name: str  # as it is written: a scalar's name, or that of a message or enum
    repeated: bool = False
    optional: bool = False
    key_type: str | None = None  # of a map, whose values have `type_name`
    oneof: str | None = None
    json_name: str | None = None
    packed: bool | None = None


class EnumDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    name: str
    values: tuple[tuple[str, int], ...]
    allow_alias: bool = False


class MessageDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    line: int
    name: str
    fields: tuple[FieldDeclaration, ...]
    messages: tuple[MessageDeclaration, ...] = ()
    enums: tuple[EnumDeclaration, ...] = ()
    oneofs: tuple[str, ...] = ()


class FileDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    package: str
    messages: tuple[MessageDeclaration, ...]
    enums: tuple[EnumDeclaration, ...]
