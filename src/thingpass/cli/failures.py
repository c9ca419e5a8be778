"""How a command fails: one sentence, the mend if there is one, on stderr, exit code 1 (2 for wrong usage)."""

from __future__ import annotations

from typing import IO

import click


class Failure(click.ClickException):
    """Ends the command. Shown as `Error: sentence` and `Mend: what to do`."""

    def __init__(self, sentence: str, mend: str | None = None, *, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.mend = mend
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance, and types it as the class's

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """From an error that has `sentence` and `mend`, as ThingpassError and X509Error have."""
        from_flag = bool(getattr(error, "from_flag", False))  # a bad value on the command line is wrong usage
        sentence = str(getattr(error, "sentence", error))
        return cls(sentence, getattr(error, "mend", None), exit_code=2 if from_flag else 1)

    def show(self, file: IO[str] | None = None) -> None:
        click.echo(f"{click.style('Error:', fg='red', bold=True)} {self.sentence}", file=file, err=True)
        if self.mend:
            click.echo(f"{click.style('Mend:', fg='green', bold=True)} {self.mend}", file=file, err=True)
