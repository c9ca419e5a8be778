"""The bus inside one process: dictionaries of subscriptions, all on one event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeAlias, cast

import structlog

from thingpass.bus.bus import (
    WAITING_MESSAGES,
    AnswerFailed,
    Handler,
    MessageT,
    NoAnswerInTime,
    NobodyAnswers,
    Subscription,
)
from thingpass.bus.messages import Message, ReplyT, Request
from thingpass.errors import ThingpassError

_log = structlog.get_logger("thingpass.bus")

_Key: TypeAlias = tuple[type[Message], str | None]
_Answerer: TypeAlias = Callable[[Message], Awaitable[object]]


class LocalBus:
    """`bus.Bus` for a server of one process. Use it on one event loop only."""

    def __init__(self) -> None:
        self._subscriptions: dict[_Key, list[_Inline[Message] | _Queued[Message]]] = {}
        self._answerers: dict[_Key, list[_Answering]] = {}

    def publish(self, message: Message) -> None:
        kind = type(message)
        for key in ((kind, None), (kind, message.device_id)):
            # A copy, because a handler may subscribe or close.
            for subscription in tuple(self._subscriptions.get(key, ())):
                subscription.deliver(message)

    def subscribe(
        self,
        kind: type[MessageT],
        handler: Handler[MessageT],
        *,
        device_id: str | None = None,
        limit: int = WAITING_MESSAGES,
        on_missed: Callable[[], None] | None = None,
    ) -> Subscription:
        key: _Key = (kind, device_id)
        subscription: _Inline[MessageT] | _Queued[MessageT]
        if inspect.iscoroutinefunction(handler):
            subscription = _Queued(handler, limit, on_missed, lambda: self._forget(key, kept))
        else:
            plain = cast("Callable[[MessageT], None]", handler)
            subscription = _Inline(plain, lambda: self._forget(key, kept))
        kept = cast("_Inline[Message] | _Queued[Message]", subscription)
        self._subscriptions.setdefault(key, []).append(kept)
        return subscription

    def answer(
        self,
        kind: type[Request[ReplyT]],
        handler: Callable[[Request[ReplyT]], Awaitable[ReplyT]],
        *,
        device_id: str | None = None,
    ) -> Subscription:
        key: _Key = (kind, device_id)
        answering = _Answering(cast("_Answerer", handler), lambda: self._forget_answerer(key, answering))
        self._answerers.setdefault(key, []).append(answering)
        return answering

    async def request(self, message: Request[ReplyT], *, timeout_s: float) -> ReplyT:
        kind = type(message)
        found = self._answerers.get((kind, message.device_id)) or self._answerers.get((kind, None))
        if not found:
            raise NobodyAnswers(f"Nobody answers {kind.__name__} for this device now.")
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                return cast("ReplyT", await found[-1].handler(message))
        except TimeoutError as error:
            if not deadline.expired():
                raise _answer_failed(kind, error) from error
            raise NoAnswerInTime(f"No answer to {kind.__name__} within {timeout_s:g} s.") from None
        except ThingpassError:
            raise
        except Exception as error:  # the edge of the answerer: its fault must not look like the asker's
            raise _answer_failed(kind, error) from error

    async def close(self) -> None:
        open_now = [each for several in self._subscriptions.values() for each in several]
        self._subscriptions.clear()
        self._answerers.clear()
        tasks = [task for each in open_now if (task := each.stop()) is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: _Key, subscription: _Inline[Message] | _Queued[Message]) -> None:
        several = self._subscriptions.get(key, [])
        if subscription in several:
            several.remove(subscription)
        if not several:
            self._subscriptions.pop(key, None)

    def _forget_answerer(self, key: _Key, answering: _Answering) -> None:
        several = self._answerers.get(key, [])
        if answering in several:
            several.remove(answering)
        if not several:
            self._answerers.pop(key, None)


class _Inline(Generic[MessageT]):
    """A plain function: called inside `publish`."""

    def __init__(self, handler: Callable[[MessageT], None], forget: Callable[[], None]) -> None:
        self._handler = handler
        self._forget = forget
        self._closed = False

    def deliver(self, message: MessageT) -> None:
        if self._closed:
            return
        try:
            self._handler(message)
        except Exception as error:  # a subscriber's fault is not the publisher's
            _log_failure(message, error)

    def stop(self) -> asyncio.Task[None] | None:
        self._closed = True
        return None

    def close(self) -> None:
        self.stop()
        self._forget()


class _Queued(Generic[MessageT]):
    """A coroutine function: one task works the queue off, and exists only while something waits."""

    def __init__(
        self,
        handler: Callable[[MessageT], Awaitable[None]],
        limit: int,
        on_missed: Callable[[], None] | None,
        forget: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._limit = limit
        self._on_missed = on_missed
        self._forget = forget
        self._waiting: deque[MessageT] = deque()
        self._task: asyncio.Task[None] | None = None
        self._missed = False
        self._closed = False

    def deliver(self, message: MessageT) -> None:
        if self._closed:
            return
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self._missed = True
        self._waiting.append(message)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._waiting and not self._closed:
            if self._missed:
                self._missed = False
                self._tell_missed()
            message = self._waiting.popleft()
            try:
                await self._handler(message)
            except Exception as error:  # the edge of this task
                _log_failure(message, error)
        self._task = None

    def _tell_missed(self) -> None:
        _log.warning("bus_messages_dropped", limit=self._limit)
        if self._on_missed is None:
            return
        try:
            self._on_missed()
        except Exception as error:  # the edge of this task
            _log.error("bus_handler_failed", handler="on_missed", error=repr(error))

    def stop(self) -> asyncio.Task[None] | None:
        self._closed = True
        self._waiting.clear()
        if self._task is None or self._task is asyncio.current_task():
            return None
        self._task.cancel()
        return self._task

    def close(self) -> None:
        self.stop()
        self._forget()


class _Answering:
    def __init__(self, handler: _Answerer, forget: Callable[[], None]) -> None:
        self.handler = handler
        self._forget = forget

    def close(self) -> None:
        self._forget()


def _answer_failed(kind: type[Message], error: Exception) -> AnswerFailed:
    _log.error("bus_answer_failed", message=kind.__name__, error=repr(error))
    return AnswerFailed(f"The part that answers {kind.__name__} failed.")


def _log_failure(message: Message, error: Exception) -> None:
    _log.error("bus_handler_failed", message=type(message).__name__, error=repr(error), exc_info=error)
