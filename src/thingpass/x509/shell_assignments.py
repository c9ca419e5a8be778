"""`NAME=value` lines with a shell's quoting, read without a shell: nothing in them is ever run.

Understood: comments, `export`, single and double quotes, backslashes, CRLF, a byte order mark. Deviates
from POSIX 2.3 in one thing: an unquoted value may contain spaces, because the guide prints `CITY=San
Francisco`. Of all substitutions only those that the caller names are understood, written `$(name)`; every
other use of `$` or a backtick is refused by its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from thingpass.x509.errors import PropertiesInvalid

LARGEST_FILE = 64 * 1024
_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)")
_TOKEN = re.compile(
    r"""(?P<comment>(?<=[ \t])\#.*)
      | (?P<space>[ \t]+)
      | '(?P<single>[^']*)'
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | \\(?P<escaped>.)
      | (?P<substitution>[$`])
      | (?P<plain>[^'"\\$`\ \t]+)""",
    re.VERBOSE,
)
# POSIX 2.2.3: inside double quotes a backslash escapes only these; before others it stands for itself.
_IN_DOUBLE_QUOTES = re.compile(
    r"""\\(?P<escaped>["\\$`]) | (?P<substitution>[$`]) | (?P<plain>\\|[^\\$`]+)""", re.VERBOSE
)
_COMMAND = re.compile(r"\$\(([^()]*)\)")
_ANY_SUBSTITUTION = re.compile(r"\$\([^)]*\)?|\$\{[^}]*\}?|`[^`]*`?|\$\w*")

Substitutions = Mapping[str, Callable[[], str]]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One line: a name, its value with the quotes undone (maybe a password), and where it stands."""

    name: str
    value: str = field(repr=False)
    line: int


def read_assignments(content: bytes, file: str, substitutions: Substitutions) -> Iterator[Assignment]:
    """The assignments of a file in their order; raises PropertiesInvalid naming `file` and the line."""
    if len(content) > LARGEST_FILE:
        raise PropertiesInvalid(
            file,
            None,
            f"the file is larger than {LARGEST_FILE // 1024} KiB",
            "name a keygen.properties file",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PropertiesInvalid(file, line, "the line is not UTF-8 text", "save the file as UTF-8") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line_text in enumerate(lines, 1):
        stripped = line_text.strip()
        if stripped and not stripped.startswith("#"):
            yield _Line(file, number, substitutions).read(stripped)


class _Line:
    """Reads one line; holds what its findings must name."""

    def __init__(self, file: str, number: int, substitutions: Substitutions) -> None:
        self._file = file
        self._number = number
        self._substitutions = substitutions
        self._name = ""

    def read(self, text: str) -> Assignment:
        left, equals, right = text.partition("=")
        name = _NAME.fullmatch(left.strip())
        if not equals or name is None:
            raise self._invalid(
                "the line is not NAME=value", "write one variable per line, and # before a comment"
            )
        self._name = name[1]
        value = self._value(right)
        if not all(character.isprintable() for character in value):
            raise self._invalid(f"{self._name} contains a character that does not print", "write plain text")
        return Assignment(self._name, value, self._number)

    def _value(self, text: str) -> str:
        parts: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None:
                raise self._unfinished(text[at])
            kind, part, at = str(token.lastgroup), token[str(token.lastgroup)], token.end()
            match kind:
                case "comment":
                    break
                case "double":
                    part = self._double_quoted(part)
                case "substitution":
                    part, at = self._substituted(text, token.start())
            parts.append((kind, part))
        while parts and parts[0][0] == "space":
            parts.pop(0)
        while parts and parts[-1][0] == "space":
            parts.pop()
        return "".join(part for _, part in parts)

    def _double_quoted(self, text: str) -> str:
        parts: list[str] = []
        at = 0
        while token := _IN_DOUBLE_QUOTES.match(text, at):
            part, at = token[str(token.lastgroup)], token.end()
            if token.lastgroup == "substitution":
                part, at = self._substituted(text, token.start())
            parts.append(part)
        return "".join(parts)

    def _substituted(self, text: str, at: int) -> tuple[str, int]:
        """What the substitution at `at` stands for, and where it ends."""
        command = _COMMAND.match(text, at)
        known = None if command is None else self._substitutions.get(" ".join(command[1].split()))
        if known is not None and command is not None:
            return known(), command.end()
        understood = " and ".join(f"$({name})" for name in self._substitutions)
        seen = _ANY_SUBSTITUTION.match(text, at)
        shown = text[at] if seen is None or "PASSWORD" in self._name else seen[0][:40]
        raise self._invalid(
            f"{self._name} contains {shown}, but nothing is run or looked up here except {understood}",
            "write the value itself (in single quotes, $ and ` mean themselves)",
        )

    def _unfinished(self, character: str) -> PropertiesInvalid:
        if character == "\\":
            return self._invalid(
                f"{self._name} goes on in the next line", "write the whole value in one line"
            )
        return self._invalid(
            f"{self._name} has an opening {character} without a closing one", f"add the closing {character}"
        )

    def _invalid(self, sentence: str, mend: str) -> PropertiesInvalid:
        return PropertiesInvalid(self._file, self._number, sentence, mend)
