"""Declarations -> message types of Google's protobuf library, which takes 40 ms to load: import this late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from thingpass.proto3.declarations import (
    EnumDeclaration,
    FieldDeclaration,
    FileDeclaration,
    MessageDeclaration,
)
from thingpass.proto3.errors import SchemaError
from thingpass.proto3.reading import read_schema

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
    "fixed32": _Field.TYPE_FIXED32,
    "fixed64": _Field.TYPE_FIXED64,
    "sfixed32": _Field.TYPE_SFIXED32,
    "sfixed64": _Field.TYPE_SFIXED64,
    "bool": _Field.TYPE_BOOL,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}


def last_message_type(text: str) -> type[Message]:
    """The type of the message that is declared last at the top of a schema. Raises SchemaError."""
    declared = read_schema(text)
    return _message_type(declared, declared.messages[-1].name)


def message_type(text: str, name: str) -> type[Message]:
    """The type of a message by its name. Raises SchemaError."""
    return _message_type(read_schema(text), name)


def _message_type(declared: FileDeclaration, name: str) -> type[Message]:
    """Each schema has a pool of its own, so that names are free, and all of it goes when it is not used."""
    pool = descriptor_pool.DescriptorPool()
    try:
        pool.Add(_File(declared).descriptor())
        found = pool.FindMessageTypeByName(f"{declared.package}.{name}".lstrip("."))
    except (TypeError, KeyError, ValueError) as error:
        raise SchemaError(declared.messages[-1].line, f"protobuf does not accept it: {error}") from None
    assert isinstance(found, Descriptor)
    return message_factory.GetMessageClass(found)


class _File:
    """Finds what type names mean; scopes are searched from the inside out."""

    def __init__(self, declared: FileDeclaration) -> None:
        self._declared = declared
        self._kinds: dict[str, int] = {}  # full name with a dot before it -> message or enum
        scope = f".{declared.package}" if declared.package else ""
        self._scope = scope
        self._note(scope, declared.messages, declared.enums)

    def descriptor(self) -> descriptor_pb2.FileDescriptorProto:
        file = descriptor_pb2.FileDescriptorProto(
            name="schema.proto", package=self._declared.package, syntax="proto3"
        )
        for message in self._declared.messages:
            self._fill_message(file.message_type.add(), message, f"{self._scope}.{message.name}")
        for enum in self._declared.enums:
            _fill_enum(file.enum_type.add(), enum)
        return file

    def _note(
        self, scope: str, messages: Sequence[MessageDeclaration], enums: Sequence[EnumDeclaration]
    ) -> None:
        for enum in enums:
            self._kinds[f"{scope}.{enum.name}"] = _Field.TYPE_ENUM
        for message in messages:
            name = f"{scope}.{message.name}"
            self._kinds[name] = _Field.TYPE_MESSAGE
            self._note(name, message.messages, message.enums)

    def _fill_message(
        self, into: descriptor_pb2.DescriptorProto, declared: MessageDeclaration, full_name: str
    ) -> None:
        into.name = declared.name
        for name in declared.oneofs:
            into.oneof_decl.add(name=name)
        for field in declared.fields:
            made = into.field.add(
                name=field.name,
                number=field.number,
                label=_Field.LABEL_REPEATED if field.repeated or field.key_type else _Field.LABEL_OPTIONAL,
            )
            if field.json_name is not None:
                made.json_name = field.json_name
            if field.packed is not None:
                made.options.packed = field.packed
            if field.key_type is not None:
                self._fill_map(into, made, field, full_name)
            else:
                self._set_type(made, field.type_name, full_name, field.line)
            if field.oneof is not None:
                made.oneof_index = declared.oneofs.index(field.oneof)
        # A field that knows whether it was set stands in a oneof of its own, behind those that were declared.
        for field, made in zip(declared.fields, into.field, strict=True):
            if field.optional:
                made.proto3_optional = True
                made.oneof_index = len(into.oneof_decl)
                into.oneof_decl.add(name=f"_{field.name}")
        for message in declared.messages:
            self._fill_message(into.nested_type.add(), message, f"{full_name}.{message.name}")
        for enum in declared.enums:
            _fill_enum(into.enum_type.add(), enum)

    def _fill_map(
        self,
        message: descriptor_pb2.DescriptorProto,
        made: descriptor_pb2.FieldDescriptorProto,
        field: FieldDeclaration,
        scope: str,
    ) -> None:
        assert field.key_type is not None
        words = field.name.split("_")
        entry = message.nested_type.add(name="".join(word[:1].upper() + word[1:] for word in words) + "Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_SCALARS[field.key_type])
        value = entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL)
        self._set_type(value, field.type_name, scope, field.line)
        made.type = _Field.TYPE_MESSAGE
        made.type_name = f"{scope}.{entry.name}"

    def _set_type(
        self, made: descriptor_pb2.FieldDescriptorProto, written: str, scope: str, line: int
    ) -> None:
        scalar = _SCALARS.get(written)
        if scalar is not None:
            made.type = scalar
            return
        full_name = self._resolve(written, scope)
        if full_name is None:
            raise SchemaError(line, f"there is no type {written!r}")
        made.type = self._kinds[full_name]  # type: ignore[assignment]  # an int is an enum's value in the stubs
        made.type_name = full_name

    def _resolve(self, written: str, scope: str) -> str | None:
        if written.startswith("."):
            return written if written in self._kinds else None
        while True:
            if f"{scope}.{written}" in self._kinds:
                return f"{scope}.{written}"
            if not scope:
                return None
            scope = scope.rpartition(".")[0]


def _fill_enum(into: descriptor_pb2.EnumDescriptorProto, declared: EnumDeclaration) -> None:
    into.name = declared.name
    if declared.allow_alias:
        into.options.allow_alias = True
    for name, number in declared.values:
        into.value.add(name=name, number=number)
