from __future__ import annotations

import asyncio

from thingpass.servers.deadlines import SLOT_S, DeadlineWheel


class Member:
    def __init__(self, deadline: float | None) -> None:
        self.at = deadline
        self.wheel_slot = 0
        self.overdue_at: list[float] = []

    def deadline(self) -> float | None:
        return self.at

    def overdue(self, now: float) -> None:
        self.overdue_at.append(now)
        self.at = None


async def turn(wheel: DeadlineWheel, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def test_a_member_hears_when_its_moment_has_come_and_not_before() -> None:
    wheel = DeadlineWheel()
    wheel.start()
    now = asyncio.get_running_loop().time()
    soon, later = Member(now + 0.1), Member(now + 60)
    wheel.watch(soon)
    wheel.watch(later)
    await turn(wheel, 0.1 + 3 * SLOT_S)
    assert len(soon.overdue_at) == 1
    assert soon.overdue_at[0] >= now + 0.1
    assert soon.wheel_slot == 0
    assert later.overdue_at == []
    await wheel.stop()


async def test_a_member_that_was_active_is_moved_and_not_overdue() -> None:
    wheel = DeadlineWheel()
    wheel.start()
    now = asyncio.get_running_loop().time()
    member = Member(now + 0.1)
    wheel.watch(member)
    member.at = now + 60
    await turn(wheel, 0.1 + 3 * SLOT_S)
    assert member.overdue_at == []
    assert member.wheel_slot > int(now / SLOT_S)
    await wheel.stop()


async def test_a_member_that_left_is_not_kept() -> None:
    """A wheel that kept closed connections until their slot would hold minutes of them."""
    wheel = DeadlineWheel()
    wheel.start()
    member = Member(asyncio.get_running_loop().time() + 3600)
    wheel.watch(member)
    wheel.forget(member)
    assert member.wheel_slot == 0
    assert wheel._slots == {}
    wheel.forget(member)
    await wheel.stop()


async def test_a_member_that_fails_does_not_disturb_the_others() -> None:
    class Broken(Member):
        def overdue(self, now: float) -> None:
            raise RuntimeError("broken")

    wheel = DeadlineWheel()
    wheel.start()
    now = asyncio.get_running_loop().time()
    members = [Broken(now), Member(now), Broken(now), Member(now)]
    for member in members:
        wheel.watch(member)
    await turn(wheel, 3 * SLOT_S)
    assert [len(member.overdue_at) for member in members] == [0, 1, 0, 1]
    await wheel.stop()
