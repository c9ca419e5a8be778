"""The certificate that a listener shows: loaded, checked, and swapped while running without dropping anybody.

A swap makes a new TLS context for the connections to come; those that are open keep the one they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
from OpenSSL import SSL

from thingpass.errors import ThingpassError
from thingpass.tls.server_context import make_server_context
from thingpass.x509.certificate import Certificate
from thingpass.x509.errors import X509Error
from thingpass.x509.keystores import ServerIdentity

log = structlog.get_logger(__name__)

WATCH_EVERY_S = 5.0


class ServerCertificate:
    """The current context. `load` reads the files anew each time it is called, in a thread."""

    def __init__(
        self, load: Callable[[], ServerIdentity], files: tuple[Path, ...], *, minimum_version: str
    ) -> None:
        self._load = load
        self._files = files
        self.minimum_version = minimum_version
        self._seen = _state_of(files)
        self._task: asyncio.Task[None] | None = None
        identity = load()
        self.chain: tuple[Certificate, ...] = identity.chain
        self.context: SSL.Context = self._context_of(identity)

    def _context_of(self, identity: ServerIdentity) -> SSL.Context:
        return make_server_context(
            identity.private_key_pem, identity.chain, minimum_version=self.minimum_version
        )

    @property
    def trust_pem(self) -> str:
        """What a client needs in its list of authorities to trust this server: the chain's upper end."""
        above = [certificate for certificate in self.chain[1:] if certificate.is_ca]
        return "".join(certificate.pem for certificate in above) or self.chain[0].pem

    def reload(self) -> None:
        """Reads the files and shows what they hold from the next connection on.

        Raises X509Error or Invalid, and keeps the old certificate, when they do not hold a usable pair.
        """
        identity = self._load()
        context = self._context_of(identity)
        self.chain, self.context = identity.chain, context
        log.info(
            "certificate.replaced",
            subject=identity.chain[0].subject,
            fingerprint=identity.chain[0].fingerprint_sha256,
            ends=identity.chain[0].not_after.isoformat(),
        )

    def start_watching(self) -> None:
        """Looks at the files from time to time and reloads when they have changed and rest."""
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="server-certificate")

    async def stop_watching(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        changed = False
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            state = await asyncio.to_thread(_state_of, self._files)
            if state != self._seen:
                # A certificate and its key are written a moment apart: wait for one round without change.
                self._seen, changed = state, True
            elif changed:
                changed = False
                await self._reload_or_log()

    async def _reload_or_log(self) -> None:
        try:
            await asyncio.to_thread(self.reload)
        except (X509Error, ThingpassError, OSError) as error:
            log.error(
                "certificate.not_replaced",
                problem=str(error),
                consequence="the server goes on with the certificate that it has",
            )


def _state_of(files: tuple[Path, ...]) -> tuple[tuple[int, int, int] | None, ...]:
    states: list[tuple[int, int, int] | None] = []
    for file in files:
        try:
            found = file.stat()
        except OSError:
            states.append(None)
        else:
            states.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(states)
