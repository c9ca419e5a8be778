"""The words of a schema, with their lines."""

from __future__ import annotations

import re
from typing import Final

from thingpass.proto3.errors import SchemaError

_TOKEN: Final = re.compile(
    r"(?P<space>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>0[xX][0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"""|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"|(?P<mark>[{}\[\]()<>=;,.:+-])",
    re.DOTALL,
)
_END: Final = ("end", "")


class Tokens:
    """A cursor over the words; `line` is that of the word that `take` gave last."""

    def __init__(self, text: str) -> None:
        self._words: list[tuple[str, str, int]] = []
        self._at = 0
        line = at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise SchemaError(line + 1, f"{text[at]!r} belongs to nothing that is known here")
            kind = str(found.lastgroup)
            if kind != "space":
                self._words.append((kind, found[0], line + 1))
            line += found[0].count("\n")
            at = found.end()
        self._last_line = line + 1

    @property
    def line(self) -> int:
        return self._words[self._at - 1][2] if self._at else 1

    @property
    def next_line(self) -> int:
        return self._words[self._at][2] if self._at < len(self._words) else self._last_line

    def peek(self) -> tuple[str, str]:
        """Kind and text of the next word; ("end", "") behind the last one."""
        return self._words[self._at][:2] if self._at < len(self._words) else _END

    def take(self) -> tuple[str, str]:
        word = self.peek()
        if word is _END:
            raise SchemaError(self._last_line, "the schema ends in the middle")
        self._at += 1
        return word

    def accept(self, text: str) -> bool:
        """Takes the next word if it is this one."""
        if self.peek()[1] != text or self.peek()[0] == "text":
            return False
        self._at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.unexpected(repr(text))

    def expect_kind(self, kind: str, what: str) -> str:
        if self.peek()[0] != kind:
            raise self.unexpected(what)
        return self.take()[1]

    def unexpected(self, wanted: str) -> SchemaError:
        kind, text = self.peek()
        seen = "the end of the schema" if kind == "end" else repr(text[:40])
        return SchemaError(self.next_line, f"expected {wanted}, and there is {seen}")
