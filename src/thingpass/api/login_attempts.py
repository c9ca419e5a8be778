"""How often a password may be tried: per account and per address, in bounded memory.

An address that has logged in to an account before is not held up by strangers who fail on that account, so
that nobody can lock an administrator out from afar.
"""

from __future__ import annotations

from collections import OrderedDict

from thingpass.api.error_answers import TooManyRequests
from thingpass.attempts import MAX_KEPT as MAX_KEPT
from thingpass.attempts import WINDOW_S as WINDOW_S
from thingpass.attempts import Attempts
from thingpass.clock import Clock

FAILURES_PER_ACCOUNT = 10
FAILURES_PER_ADDRESS = 30


class LoginAttempts:
    """Counts an attempt as failed when it begins and forgets it when it succeeds.

    So attempts made in parallel count before the slow password check of the first has ended.
    """

    def __init__(self, clock: Clock) -> None:
        self._accounts = Attempts(clock, bound=FAILURES_PER_ACCOUNT)
        self._addresses = Attempts(clock, bound=FAILURES_PER_ADDRESS)
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, account: str, address: str) -> None:
        """Raises TooManyRequests, with the seconds to wait, when one bound is reached."""
        _check(self._addresses.wait_s(address))
        if (account, address) not in self._trusted:
            _check(self._accounts.wait_s(account))
            self._accounts.note(account)
        self._addresses.note(address)

    def succeeded(self, account: str, address: str) -> None:
        self._accounts.forget(account)
        self._addresses.forget(address)
        self._trusted[(account, address)] = None
        self._trusted.move_to_end((account, address))
        while len(self._trusted) > MAX_KEPT:
            self._trusted.popitem(last=False)

    def withdraw(self, account: str, address: str) -> None:
        """Forgets the latest attempt: it ended before the password was looked at."""
        if (account, address) not in self._trusted:
            self._accounts.take_back(account)
        self._addresses.take_back(address)


def _check(wait_s: int) -> None:
    if wait_s:
        raise TooManyRequests(
            f"Too many login attempts. Try again in {wait_s} seconds.", retry_after_s=wait_s
        )
