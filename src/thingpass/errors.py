"""The house's own errors: a code for programs, a sentence for a person and, where there is one, the mend.

Rooms raise these (or a subclass); the edges (REST, command line, MQTT) turn them into their own shape.
`x509/` and `mqtt/` have error classes of their own, because they are libraries that know no Thingpass.
"""

from __future__ import annotations


class ThingpassError(Exception):
    """Base of all errors that a person may read.

    `code` is kebab-case and published: scripts may match on it. `sentence` says what was seen.
    `mend` says what to do next, or is None.
    """

    code = "failed"

    def __init__(self, sentence: str, *, mend: str | None = None, code: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.mend = mend
        if code is not None:
            self.code = code


class Invalid(ThingpassError):
    """What was given cannot be used as it is."""

    code = "invalid"


class NotFound(ThingpassError):
    """What was asked for does not exist (or belongs to somebody else, which answers the same)."""

    code = "not-found"


class AlreadyExists(ThingpassError):
    """A unique name or id is taken. `constraint` names which one, as `table.column`."""

    code = "already-exists"

    def __init__(self, sentence: str, *, constraint: str, mend: str | None = None) -> None:
        super().__init__(sentence, mend=mend)
        self.constraint = constraint


class Unauthenticated(ThingpassError):
    """Nobody proved who is asking."""

    code = "unauthenticated"


class Forbidden(ThingpassError):
    """Who is asking may not do this."""

    code = "forbidden"


class Unavailable(ThingpassError):
    """A part that is needed does not answer, or a bound is reached; trying later may help."""

    code = "unavailable"
