"""What can be wrong with certificates, keys and key stores; each error has a sentence and the mend.

A class of its own, apart from the house's errors, so that this room stays a library. No error here carries
key material, a password or the bytes that were read: sentences name kinds, files and positions only.
"""

from __future__ import annotations

LOCKED_MEND = (
    "Give the key's password; a server takes it from THINGPASS_SERVER_KEY_PASSWORD or from the file named by "
    "THINGPASS_SERVER_KEY_PASSWORD_FILE."
)


class X509Error(Exception):
    """Base of all errors of this room.

    `sentence` says what was seen, `mend` what to do next (None where there is nothing to do).
    """

    def __init__(self, sentence: str, mend: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.mend = mend


class Unreadable(X509Error):
    """The bytes are not the DER of an X.509 certificate."""


class NotACertificate(X509Error):
    """What was pasted is something else; `found` names it in kebab-case (`private-key`, `der-file`, ...)."""

    def __init__(self, sentence: str, mend: str, *, found: str) -> None:
        super().__init__(sentence, mend)
        self.found = found


class KeyUnusable(X509Error):
    """A private key cannot be read, opened with the password given, or made as asked."""


class KeyStoreUnusable(X509Error):
    """A JKS or PKCS#12 key store is damaged, locked by another password, or lacks the entry."""


class IdentityUnusable(X509Error):
    """A certificate and a key do not make up one identity, or a file of it cannot be read."""


class PropertiesInvalid(X509Error):
    """A line of a keygen.properties file cannot be used; `line` is None where no single line is at fault."""

    def __init__(self, file: str, line: int | None, sentence: str, mend: str) -> None:
        super().__init__(sentence, mend)
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.sentence}; {self.mend}"


class FilesNotWritten(X509Error):
    """A set of key files was not written, and what stood there before still does."""
