"""A schema's text -> its declarations. The language: protobuf.dev, "Protocol Buffers Version 3 Language".

Options and reserved names are read and let be, except for those that change what is on the wire or in JSON
(`packed`, `json_name`). What one schema by itself cannot hold is refused by its name: imports, proto2's
groups, extensions, required fields and default values.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final

from thingpass.proto3.declarations import (
    EnumDeclaration,
    FieldDeclaration,
    FileDeclaration,
    MessageDeclaration,
)
from thingpass.proto3.errors import SchemaError
from thingpass.proto3.tokens import Tokens

LONGEST_SCHEMA: Final = 100_000
"""Characters."""

DEEPEST_NESTING: Final = 32
"""Messages within each other."""

LARGEST_NUMBER: Final = 2**29 - 1
_SMALLEST_ENUM_NUMBER: Final = -(2**31)
_LARGEST_ENUM_NUMBER: Final = 2**31 - 1
_RESERVED_NUMBERS: Final = range(19_000, 20_000)
_KEY_TYPES: Final = frozenset(
    (
        *("int32", "int64", "uint32", "uint64", "sint32", "sint64", "bool", "string"),
        *("fixed32", "fixed64", "sfixed32", "sfixed64"),
    )
)

# What stands first in a statement -> why it is refused.
_NOT_IN_A_FILE: Final = {
    "import": "imports are not supported: one schema holds all that it needs",
    "extend": "extensions belong to proto2",
    "service": "services are not supported: devices send messages",
}
_NOT_IN_A_MESSAGE: Final = {
    "required": "`required` belongs to proto2; leave it out",
    "group": "groups belong to proto2; declare a message and a field of its type",
    "extend": "extensions belong to proto2",
    "extensions": "extensions belong to proto2",
}


def read_schema(text: str) -> FileDeclaration:
    """Raises SchemaError."""
    if len(text) > LONGEST_SCHEMA:
        raise SchemaError(1, f"the schema has {len(text)} characters; {LONGEST_SCHEMA} are taken at most")
    return _Reader(Tokens(text)).file()


class _Reader:
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def file(self) -> FileDeclaration:
        tokens = self._tokens
        self._syntax()
        package = ""
        messages: list[MessageDeclaration] = []
        enums: list[EnumDeclaration] = []
        while tokens.peek()[0] != "end":
            if tokens.accept(";"):
                continue
            word = self._first_word(_NOT_IN_A_FILE)
            if word == "package":
                if package:
                    raise SchemaError(tokens.line, "there is a second `package`")
                package = self._dotted("the package's name")
                tokens.expect(";")
            elif word == "option":
                self._skip_statement()
            elif word == "message":
                messages.append(self._message(1))
            elif word == "enum":
                enums.append(self._enum())
            else:
                raise SchemaError(tokens.line, f"expected `message` or `enum`, and there is {word!r}")
        if not messages:
            raise SchemaError(tokens.next_line, "the schema declares no message")
        _refuse_twins(_names(messages, enums), "the name")
        return FileDeclaration(package=package, messages=tuple(messages), enums=tuple(enums))

    def _syntax(self) -> None:
        tokens = self._tokens
        if not tokens.accept("syntax"):
            raise SchemaError(tokens.next_line, 'the schema does not begin with syntax = "proto3";')
        tokens.expect("=")
        syntax = _unquoted(tokens.expect_kind("text", '"proto3"'))
        if syntax != "proto3":
            raise SchemaError(tokens.line, f"the syntax is {syntax[:20]!r}; it must be 'proto3'")
        tokens.expect(";")

    def _first_word(self, refused: dict[str, str]) -> str:
        word = self._tokens.expect_kind("name", "a declaration")
        if word in refused:
            raise SchemaError(self._tokens.line, refused[word])
        return word

    def _message(self, depth: int) -> MessageDeclaration:
        tokens = self._tokens
        name, line = tokens.expect_kind("name", "the message's name"), tokens.line
        if depth > DEEPEST_NESTING:
            raise SchemaError(line, f"messages are nested deeper than {DEEPEST_NESTING} levels")
        fields: list[FieldDeclaration] = []
        messages: list[MessageDeclaration] = []
        enums: list[EnumDeclaration] = []
        oneofs: list[tuple[str, int]] = []
        tokens.expect("{")
        while not tokens.accept("}"):
            if tokens.accept(";"):
                continue
            kind, word = tokens.peek()
            if kind == "name" and word in _NOT_IN_A_MESSAGE:
                tokens.take()
                raise SchemaError(tokens.line, _NOT_IN_A_MESSAGE[word])
            if self._accept_keyword("message"):
                messages.append(self._message(depth + 1))
            elif self._accept_keyword("enum"):
                enums.append(self._enum())
            elif self._accept_keyword("oneof"):
                oneof = tokens.expect_kind("name", "the oneof's name")
                oneofs.append((oneof, tokens.line))
                fields += self._oneof(oneof)
            elif self._accept_keyword("reserved", "option"):
                self._skip_statement()
            else:
                fields.append(self._field())
        _refuse_twins([(one.name, one.line) for one in fields] + oneofs, "the name")
        _refuse_twins(_names(messages, enums), "the name")
        _refuse_twins([(one.number, one.line) for one in fields], "the number")
        _refuse_twins([(_json_name(one), one.line) for one in fields], "the JSON name")
        return MessageDeclaration(
            line=line,
            name=name,
            fields=tuple(fields),
            messages=tuple(messages),
            enums=tuple(enums),
            oneofs=tuple(name for name, _ in oneofs),
        )

    def _accept_keyword(self, *words: str) -> bool:
        """Takes a keyword; keywords are not reserved, so a type may have such a name, but not here."""
        return any(self._tokens.accept(word) for word in words)

    def _oneof(self, oneof: str) -> list[FieldDeclaration]:
        tokens = self._tokens
        fields: list[FieldDeclaration] = []
        tokens.expect("{")
        while not tokens.accept("}"):
            if tokens.accept(";"):
                continue
            if tokens.accept("option"):
                self._skip_statement()
                continue
            field = self._field(oneof)
            if field.repeated or field.optional or field.key_type:
                raise SchemaError(field.line, "a field in a oneof has no label and is no map")
            fields.append(field)
        if not fields:
            raise SchemaError(tokens.line, f"the oneof {oneof!r} has no field")
        return fields

    def _field(self, oneof: str | None = None) -> FieldDeclaration:
        tokens = self._tokens
        repeated = tokens.accept("repeated")
        optional = not repeated and tokens.accept("optional")
        key_type = None
        if tokens.accept("map"):
            tokens.expect("<")
            key_type = tokens.expect_kind("name", "the type of the map's keys")
            if key_type not in _KEY_TYPES:
                raise SchemaError(tokens.line, f"{key_type!r} cannot be the type of a map's keys")
            tokens.expect(",")
            type_name = self._dotted("the type of the map's values")
            tokens.expect(">")
            if repeated or optional:
                raise SchemaError(tokens.line, "a map has no label")
        else:
            type_name = self._dotted("the field's type")
        name, line = tokens.expect_kind("name", "the field's name"), tokens.line
        tokens.expect("=")
        number = self._whole("the field's number")
        if not 1 <= number <= LARGEST_NUMBER or number in _RESERVED_NUMBERS:
            raise SchemaError(
                tokens.line,
                f"{number} cannot be a field's number (1 to {LARGEST_NUMBER}, not 19000 to 19999)",
            )
        json_name, packed = self._field_options()
        tokens.expect(";")
        return FieldDeclaration(
            line=line,
            name=name,
            number=number,
            type_name=type_name,
            repeated=repeated,
            optional=optional,
            key_type=key_type,
            oneof=oneof,
            json_name=json_name,
            packed=packed,
        )

    def _field_options(self) -> tuple[str | None, bool | None]:
        tokens = self._tokens
        json_name: str | None = None
        packed: bool | None = None
        if not tokens.accept("["):
            return json_name, packed
        while True:
            if tokens.accept("json_name"):
                tokens.expect("=")
                json_name = _unquoted(tokens.expect_kind("text", "the name in quotes"))
            elif tokens.accept("packed"):
                tokens.expect("=")
                packed = tokens.expect_kind("name", "true or false") == "true"
            elif tokens.accept("default"):
                raise SchemaError(tokens.line, "default values belong to proto2")
            else:
                self._skip_until(",", "]")
            if not tokens.accept(","):
                tokens.expect("]")
                return json_name, packed

    def _enum(self) -> EnumDeclaration:
        tokens = self._tokens
        name, line = tokens.expect_kind("name", "the enum's name"), tokens.line
        values: list[tuple[str, int, int]] = []
        allow_alias = False
        tokens.expect("{")
        while not tokens.accept("}"):
            if tokens.accept(";"):
                continue
            word = tokens.expect_kind("name", "a value's name")
            at = tokens.line
            if word == "option":
                allow_alias = self._is_allow_alias() or allow_alias
                continue
            if word == "reserved" and tokens.peek()[1] != "=":
                self._skip_statement()
                continue
            tokens.expect("=")
            number = self._whole("the value's number")
            if not _SMALLEST_ENUM_NUMBER <= number <= _LARGEST_ENUM_NUMBER:
                raise SchemaError(tokens.line, "an enum's numbers have 32 bits")
            if tokens.accept("["):
                self._skip_until("]")
                tokens.expect("]")
            tokens.expect(";")
            values.append((word, number, at))
        if not values or values[0][1] != 0:
            raise SchemaError(values[0][2] if values else line, "the first value of an enum is 0 in proto3")
        _refuse_twins([(value, at) for value, _, at in values], "the name")
        if not allow_alias:
            _refuse_twins([(number, at) for _, number, at in values], "the number")
        return EnumDeclaration(
            line=line,
            name=name,
            values=tuple((value, number) for value, number, _ in values),
            allow_alias=allow_alias,
        )

    def _is_allow_alias(self) -> bool:
        found = self._tokens.peek()[1] == "allow_alias"
        self._skip_statement()
        return found

    def _whole(self, what: str) -> int:
        tokens = self._tokens
        sign = -1 if tokens.accept("-") else 1
        text = tokens.expect_kind("number", what)
        try:
            if len(text) > 20:
                raise ValueError
            octal = len(text) > 1 and text.startswith("0") and text.isdigit()
            return sign * (int(text, 8) if octal else int(text, 0))
        except ValueError:
            raise SchemaError(tokens.line, f"{text[:20]!r} is no whole number") from None

    def _dotted(self, what: str) -> str:
        tokens = self._tokens
        text = "." if tokens.accept(".") else ""
        text += tokens.expect_kind("name", what)
        while tokens.accept("."):
            text += "." + tokens.expect_kind("name", what)
        return text

    def _skip_statement(self) -> None:
        self._skip_until(";")
        self._tokens.expect(";")

    def _skip_until(self, *ends: str) -> None:
        """To one of these marks that stands in no bracket of its own."""
        tokens, depth = self._tokens, 0
        while depth or tokens.peek()[1] not in ends or tokens.peek()[0] == "text":
            kind, text = tokens.take()
            if kind == "mark" and text in "{[(":
                depth += 1
            elif kind == "mark" and text in "}])":
                depth -= 1
                if depth < 0:
                    raise SchemaError(tokens.line, f"{text!r} closes what was not opened")


def _refuse_twins(seen: list[tuple[str, int]] | list[tuple[int, int]], what: str) -> None:
    lines: dict[object, int] = {}
    for name, line in seen:
        if name in lines:
            raise SchemaError(line, f"{what} {name!r} is taken on line {lines[name]}")
        lines[name] = line


def _names(messages: list[MessageDeclaration], enums: list[EnumDeclaration]) -> list[tuple[str, int]]:
    return [(one.name, one.line) for one in messages] + [(one.name, one.line) for one in enums]


def _json_name(field: FieldDeclaration) -> str:
    return field.json_name if field.json_name is not None else camel_case(field.name)


def camel_case(name: str) -> str:
    """How protobuf writes a field's name in JSON: each `_` gone, the letter behind it large."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _unquoted(text: str) -> str:
    value: Callable[[str], object] = ast.literal_eval
    try:
        return str(value(text))
    except (ValueError, SyntaxError):
        return text[1:-1]
