"""Refusals in the log: one line per address and reason a minute, however often a client tries."""

from __future__ import annotations

from collections import OrderedDict

import structlog

from thingpass.identity.refusals import Refusal

_log = structlog.get_logger("thingpass.identity")

QUIET_MS = 60_000
MOST_REMEMBERED = 2_000
"""Pairs of address and reason; from more addresses than this at a time, some lines come more often."""


class RefusalLines:
    """Writes the lines and counts those held back, which the next line of the same kind tells."""

    def __init__(self) -> None:
        self._written: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def write(
        self, refusal: Refusal, peer_address: str, at_ms: int, sentence: str, device_name: str | None
    ) -> None:
        key = (peer_address, refusal.code)
        written_at_ms, held_back = self._written.get(key, (at_ms - QUIET_MS, 0))
        if 0 <= at_ms - written_at_ms < QUIET_MS:
            self._written[key] = (written_at_ms, held_back + 1)
            return
        self._written[key] = (at_ms, 0)
        self._written.move_to_end(key)
        if len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)
        more = {"held_back": held_back} if held_back else {}
        _log.info(
            "refused", code=refusal.code, sentence=sentence, peer=peer_address, device=device_name, **more
        )
