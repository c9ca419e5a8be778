"""What every implementation of `bus.Bus` promises; a new one is added to `IMPLEMENTATIONS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from thingpass.bus.bus import AnswerFailed, Bus, NoAnswerInTime, NobodyAnswers
from thingpass.bus.local import LocalBus
from thingpass.bus.messages import CredentialsChanged, DeviceRemoved, Message, Request
from thingpass.errors import NotFound

IMPLEMENTATIONS = {"local": LocalBus}


class Sum(Message, frozen=True, tag="test-sum"):
    total: int


class Add(Request[Sum], frozen=True, tag="test-add"):
    left: int
    right: int


@pytest.fixture(params=IMPLEMENTATIONS)
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    implementation = IMPLEMENTATIONS[request.param]()
    yield implementation
    await implementation.close()


def changed(device_id: str = "device-1") -> CredentialsChanged:
    return CredentialsChanged(device_id=device_id, credentials_ids=("old", "new"))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class TestPublish:
    async def test_a_plain_function_has_run_when_publish_returns(self, bus: Bus) -> None:
        seen: list[Message] = []
        bus.subscribe(CredentialsChanged, seen.append)
        bus.publish(changed())
        assert seen == [changed()]

    async def test_a_coroutine_function_gets_messages_in_order(self, bus: Bus) -> None:
        seen: list[str] = []

        async def handler(message: DeviceRemoved) -> None:
            await asyncio.sleep(0)
            seen.append(message.device_id)

        bus.subscribe(DeviceRemoved, handler)
        for number in range(5):
            bus.publish(DeviceRemoved(device_id=str(number)))
        assert seen == []
        await asyncio.sleep(0.05)
        assert seen == ["0", "1", "2", "3", "4"]

    async def test_only_the_kind_and_the_device_asked_for_arrive(self, bus: Bus) -> None:
        all_devices: list[str] = []
        one_device: list[str] = []
        bus.subscribe(CredentialsChanged, lambda message: all_devices.append(message.device_id))
        bus.subscribe(CredentialsChanged, lambda message: one_device.append(message.device_id), device_id="b")
        for device_id in "abc":
            bus.publish(changed(device_id))
        bus.publish(DeviceRemoved(device_id="b"))
        await settle()
        assert all_devices == ["a", "b", "c"]
        assert one_device == ["b"]

    async def test_nobody_listening_is_no_error(self, bus: Bus) -> None:
        bus.publish(changed())

    async def test_raising_handlers_disturb_neither_publisher_nor_others(self, bus: Bus) -> None:
        seen: list[Message] = []

        def raises(message: Message) -> None:
            raise RuntimeError("a fault of the subscriber")

        async def raises_later(message: Message) -> None:
            raise RuntimeError("a fault of the subscriber")

        bus.subscribe(CredentialsChanged, raises)
        bus.subscribe(CredentialsChanged, raises_later)
        bus.subscribe(CredentialsChanged, seen.append)
        bus.publish(changed())
        await settle()
        bus.publish(changed())
        await settle()
        assert len(seen) == 2

    async def test_a_slow_handler_holds_up_nobody(self, bus: Bus) -> None:
        seen: list[Message] = []
        never = asyncio.Event()

        async def slow(message: Message) -> None:
            await never.wait()

        bus.subscribe(CredentialsChanged, slow)
        bus.subscribe(CredentialsChanged, seen.append)
        for _ in range(3):
            bus.publish(changed())
        assert len(seen) == 3

    async def test_a_full_queue_drops_the_oldest_and_says_so(self, bus: Bus) -> None:
        seen: list[str] = []

        async def handler(message: CredentialsChanged) -> None:
            seen.append(message.device_id)

        bus.subscribe(CredentialsChanged, handler, limit=3, on_missed=lambda: seen.append("missed"))
        for number in range(10):
            bus.publish(changed(str(number)))
        await asyncio.sleep(0.05)
        assert seen == ["missed", "7", "8", "9"]

    async def test_after_close_nothing_arrives(self, bus: Bus) -> None:
        seen: list[Message] = []

        async def later(message: CredentialsChanged) -> None:
            seen.append(message)

        plain = bus.subscribe(CredentialsChanged, seen.append)
        queued = bus.subscribe(CredentialsChanged, later)
        plain.close()
        bus.publish(changed())
        queued.close()
        queued.close()
        await settle()
        assert seen == []

    async def test_a_handler_may_close_its_own_subscription(self, bus: Bus) -> None:
        seen: list[Message] = []

        async def once(message: CredentialsChanged) -> None:
            seen.append(message)
            subscription.close()
            await asyncio.sleep(0)
            seen.append(message)

        subscription = bus.subscribe(CredentialsChanged, once)
        bus.publish(changed())
        bus.publish(changed())
        await settle()
        assert len(seen) == 2

    async def test_a_handler_may_publish(self, bus: Bus) -> None:
        seen: list[Message] = []
        bus.subscribe(CredentialsChanged, lambda m: bus.publish(DeviceRemoved(device_id=m.device_id)))
        bus.subscribe(DeviceRemoved, seen.append)
        bus.publish(changed())
        await settle()
        assert seen == [DeviceRemoved(device_id="device-1")]


class TestRequest:
    question = Add(device_id="device-1", left=2, right=3)

    async def test_the_answer_comes_back(self, bus: Bus) -> None:
        async def add(message: Request[Sum]) -> Sum:
            assert isinstance(message, Add)
            return Sum(device_id=message.device_id, total=message.left + message.right)

        bus.answer(Add, add)
        assert (await bus.request(self.question, timeout_s=1)).total == 5

    async def test_without_an_answerer_it_fails_at_once(self, bus: Bus) -> None:
        with pytest.raises(NobodyAnswers):
            await bus.request(self.question, timeout_s=60)

    async def test_an_answerer_for_the_device_goes_before_one_for_all(self, bus: Bus) -> None:
        for device_id, total in ((None, 1), ("device-1", 2), ("device-1", 3), ("device-2", 4)):

            async def answer(message: Request[Sum], total: int = total) -> Sum:
                return Sum(device_id=message.device_id, total=total)

            bus.answer(Add, answer, device_id=device_id)
        assert (await bus.request(self.question, timeout_s=1)).total == 3

    async def test_closing_the_newest_answerer_gives_the_place_back(self, bus: Bus) -> None:
        async def first(message: Request[Sum]) -> Sum:
            return Sum(device_id="", total=1)

        async def second(message: Request[Sum]) -> Sum:
            return Sum(device_id="", total=2)

        bus.answer(Add, first, device_id="device-1")
        newest = bus.answer(Add, second, device_id="device-1")
        newest.close()
        newest.close()
        assert (await bus.request(self.question, timeout_s=1)).total == 1

    async def test_no_answer_in_time_is_said(self, bus: Bus) -> None:
        async def silent(message: Request[Sum]) -> Sum:
            await asyncio.sleep(60)
            raise AssertionError

        bus.answer(Add, silent)
        with pytest.raises(NoAnswerInTime, match=r"0\.02 s"):
            await bus.request(self.question, timeout_s=0.02)

    async def test_an_error_of_ours_reaches_the_asker_and_others_become_ours(self, bus: Bus) -> None:
        async def not_there(message: Request[Sum]) -> Sum:
            raise NotFound("There is no such thing.")

        async def broken(message: Request[Sum]) -> Sum:
            raise TimeoutError("some part inside")

        bus.answer(Add, not_there)
        with pytest.raises(NotFound):
            await bus.request(self.question, timeout_s=1)
        bus.answer(Add, broken)
        with pytest.raises(AnswerFailed):
            await bus.request(self.question, timeout_s=1)


async def test_close_ends_what_still_runs() -> None:
    bus = LocalBus()
    ended = asyncio.Event()

    async def endless(message: CredentialsChanged) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    bus.subscribe(CredentialsChanged, endless)
    bus.publish(changed())
    await settle()
    await bus.close()
    assert ended.is_set()
