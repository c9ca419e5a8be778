"""The bus's interface, shaped so that an in-process one and NATS both fit behind it.

Promises that every implementation keeps (tests/contract/test_bus.py):

- `publish` never waits, and nothing that a subscriber does reaches the publisher.
- A plain function has run on the publishing node when `publish` returns: a cache that drops its entry in one
  is right from then on. It must be quick. A coroutine function runs later, one message at a time, in order.
- Each subscription waits for at most `limit` messages. Beyond that the oldest are dropped and `on_missed` is
  called, as it is after a broken link: whoever keeps state from messages rebuilds it there.
- A request is answered by one answerer, or fails within its time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from thingpass.bus.messages import Message, ReplyT, Request
from thingpass.errors import Unavailable

MessageT = TypeVar("MessageT", bound=Message)

Handler: TypeAlias = Callable[[MessageT], None] | Callable[[MessageT], Awaitable[None]]
"""What is called with each message: a plain function, or a coroutine function."""

WAITING_MESSAGES = 1_000
"""Default bound of one subscription's queue: some seconds of changes by hand, a second of a bulk import."""


class NobodyAnswers(Unavailable):
    """No part has said that it answers this kind of request (for this device)."""

    code = "nobody-answers"


class NoAnswerInTime(Unavailable):
    """The answerer did not answer within `timeout_s`; whether it acted is not known."""

    code = "no-answer-in-time"


class AnswerFailed(Unavailable):
    """The answerer failed; its own log says why."""

    code = "answer-failed"


class Subscription(Protocol):
    def close(self) -> None:
        """No handler is called after this; messages that wait are dropped. May be called twice."""


class Bus(Protocol):
    def publish(self, message: Message) -> None:
        """Tells everybody who subscribed to this kind of message. Raises nothing."""

    def subscribe(
        self,
        kind: type[MessageT],
        handler: Handler[MessageT],
        *,
        device_id: str | None = None,
        limit: int = WAITING_MESSAGES,
        on_missed: Callable[[], None] | None = None,
    ) -> Subscription:
        """Calls `handler` with every message of this kind, of one device or of all (None)."""

    def answer(
        self,
        kind: type[Request[ReplyT]],
        handler: Callable[[Request[ReplyT]], Awaitable[ReplyT]],
        *,
        device_id: str | None = None,
    ) -> Subscription:
        """Answers requests of this kind; an answerer for the one device goes before one for all.

        The latest answerer of the same kind and device wins: a device's newest connection does.
        """

    async def request(self, message: Request[ReplyT], *, timeout_s: float) -> ReplyT:
        """Asks and waits at most `timeout_s` seconds.

        Raises NobodyAnswers, NoAnswerInTime, AnswerFailed, or the ThingpassError that the answerer raised.
        """

    async def close(self) -> None:
        """Ends all subscriptions and their tasks."""
