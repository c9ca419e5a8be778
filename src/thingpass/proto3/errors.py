"""What is wrong with a schema, and on which line."""

from __future__ import annotations


class SchemaError(Exception):
    """`line` counts from 1; `problem` is a clause that can follow "line 3: "."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem
