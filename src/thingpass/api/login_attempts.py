"""How often a password may be tried: per account and per address, in bounded memory.

An address that has logged in to an account before is not held up by strangers who fail on that account, so
that nobody can lock an administrator out from afar.
"""

from __future__ import annotations

from collections import OrderedDict

from thingpass.api.error_answers import TooManyRequests
from thingpass.clock import Clock

WINDOW_S = 300.0
FAILURES_PER_ACCOUNT = 10
FAILURES_PER_ADDRESS = 30
MAX_KEPT = 10_000  # accounts and addresses each; the one not seen for longest goes first


class LoginAttempts:
    """Counts an attempt as failed when it begins and forgets it when it succeeds.

    So attempts made in parallel count before the slow password check of the first has ended.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._accounts: OrderedDict[str, list[float]] = OrderedDict()
        self._addresses: OrderedDict[str, list[float]] = OrderedDict()
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, account: str, address: str) -> None:
        """Raises TooManyRequests, with the seconds to wait, when one bound is reached."""
        now = self._clock.monotonic()
        self._check(self._addresses, address, FAILURES_PER_ADDRESS, now)
        if (account, address) not in self._trusted:
            self._check(self._accounts, account, FAILURES_PER_ACCOUNT, now)
            _note(self._accounts, account, now)
        _note(self._addresses, address, now)

    def succeeded(self, account: str, address: str) -> None:
        self._accounts.pop(account, None)
        self._addresses.pop(address, None)
        self._trusted[(account, address)] = None
        self._trusted.move_to_end((account, address))
        while len(self._trusted) > MAX_KEPT:
            self._trusted.popitem(last=False)

    def withdraw(self, account: str, address: str) -> None:
        """Forgets the latest attempt: it ended before the password was looked at."""
        if (account, address) not in self._trusted:
            _take_back(self._accounts, account)
        _take_back(self._addresses, address)

    def _check(self, kept: OrderedDict[str, list[float]], key: str, bound: int, now: float) -> None:
        failures = [at for at in kept.get(key, ()) if at > now - WINDOW_S]
        if len(failures) >= bound:
            wait_s = int(failures[-bound] + WINDOW_S - now) + 1
            raise TooManyRequests(
                f"Too many login attempts. Try again in {wait_s} seconds.", retry_after_s=wait_s
            )
        if failures:
            kept[key] = failures
        else:
            kept.pop(key, None)


def _note(kept: OrderedDict[str, list[float]], key: str, now: float) -> None:
    kept.setdefault(key, []).append(now)
    kept.move_to_end(key)
    while len(kept) > MAX_KEPT:
        kept.popitem(last=False)


def _take_back(kept: OrderedDict[str, list[float]], key: str) -> None:
    attempts = kept.get(key)
    if attempts:
        attempts.pop()
