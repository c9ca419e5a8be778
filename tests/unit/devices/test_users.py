from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from thingpass.clock import ManualClock
from thingpass.devices import users as users_module
from thingpass.devices.roles import TENANT_ADMIN
from thingpass.devices.users import (
    DISABLED,
    MOST_WAITING,
    WRONG_LOGIN,
    UserService,
    new_password,
)
from thingpass.errors import Invalid, Unauthenticated, Unavailable
from thingpass.store.rows import Tenant, User
from thingpass.store.sqlite.store import SqliteStore

EMAIL = "admin@thingpass.local"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2id with little memory, for tests that are not about its cost."""
    monkeypatch.setattr(users_module, "MEMORY_KIB", 64)
    monkeypatch.setattr(users_module, "PASSES", 1)


@pytest.fixture
def users(store: SqliteStore, clock: ManualClock) -> UserService:
    return UserService(store, clock)


@pytest.fixture
async def admin(users: UserService, tenant: Tenant, cheap: None) -> User:
    made = await users.ensure_first_administrator(tenant.id, email=EMAIL, password="correct horse")
    assert made is not None
    return made.user


class TestFirstAdministrator:
    async def test_its_password_is_generated_and_holds(self, users: UserService, tenant: Tenant) -> None:
        made = await users.ensure_first_administrator(tenant.id, email=EMAIL)
        assert made is not None
        assert made.generated_password is not None
        assert len(made.generated_password) == 16
        assert (made.user.authority, made.user.tenant_id) == (TENANT_ADMIN, tenant.id)
        assert made.user.password_hash.startswith("$argon2id$v=19$m=65536,t=2,p=1$")
        assert await users.authenticate(EMAIL, made.generated_password) == made.user
        assert made.generated_password not in repr(made)

    async def test_it_is_made_once(self, users: UserService, tenant: Tenant, admin: User) -> None:
        assert await users.ensure_first_administrator(tenant.id, email="other@example.org") is None

    async def test_a_given_password_is_not_told_again(
        self, users: UserService, tenant: Tenant, cheap: None
    ) -> None:
        made = await users.ensure_first_administrator(tenant.id, email=EMAIL, password="correct horse")
        assert made is not None
        assert made.generated_password is None

    @pytest.mark.parametrize(
        ("email", "password", "message"),
        [
            ("", "correct horse", "User email should be specified!"),
            ("admin", "correct horse", "Invalid email address format 'admin'!"),
            ("a b@c", "correct horse", "Invalid email address format 'a b@c'!"),
            (EMAIL, "short", "Password must be 6 or more characters in length."),
            (EMAIL, "x" * 73, "Password must be no more than 72 characters in length."),
        ],
    )
    async def test_names_and_passwords_that_cannot_be(
        self, users: UserService, tenant: Tenant, store: SqliteStore, email: str, password: str, message: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            await users.ensure_first_administrator(tenant.id, email=email, password=password)
        assert caught.value.sentence == message
        assert await store.count_users() == 0


class TestLogin:
    async def test_name_and_password_give_the_user(self, users: UserService, admin: User) -> None:
        assert await users.authenticate(EMAIL, "correct horse") == admin

    @pytest.mark.parametrize(
        ("email", "password"),
        [
            (EMAIL, "wrong"),
            (EMAIL, ""),
            (EMAIL, "Correct horse"),
            ("nobody@example.org", "correct horse"),
            ("", ""),
            (EMAIL, "x" * 100_000),
            (EMAIL, "\ud800"),
        ],
    )
    async def test_all_else_gets_the_same_answer(
        self, users: UserService, admin: User, email: str, password: str
    ) -> None:
        with pytest.raises(Unauthenticated) as caught:
            await users.authenticate(email, password)
        assert caught.value.sentence == WRONG_LOGIN

    async def test_a_disabled_user_is_told_so_only_with_the_right_password(
        self, users: UserService, admin: User, store: SqliteStore
    ) -> None:
        await store.set_user_enabled(admin.id, False)
        with pytest.raises(Unauthenticated, match=DISABLED):
            await users.authenticate(EMAIL, "correct horse")
        with pytest.raises(Unauthenticated, match=WRONG_LOGIN):
            await users.authenticate(EMAIL, "wrong")

    async def test_an_unknown_name_costs_the_same_work(
        self, users: UserService, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashes: list[str] = []

        def matches(password: str, password_hash: str) -> bool:
            hashes.append(password_hash.rpartition("$")[0].rpartition("$")[0])
            return True

        monkeypatch.setattr(users_module, "_password_matches", matches)
        with pytest.raises(Unauthenticated, match=WRONG_LOGIN):
            await users.authenticate("nobody@example.org", "x")
        assert hashes == ["$argon2id$v=19$m=65536,t=2,p=1"]

    async def test_no_password_matches_the_decoy(self) -> None:
        for password in ("", "x", "password"):
            assert not users_module._password_matches(password, users_module._DECOY_HASH)

    async def test_the_loop_goes_on_and_few_run_at_a_time(
        self, users: UserService, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running: list[int] = []
        now = 0
        guard = threading.Lock()

        def slow(password: str, password_hash: str) -> bool:
            nonlocal now
            with guard:
                now += 1
                running.append(now)
            time.sleep(0.02)
            with guard:
                now -= 1
            return True

        monkeypatch.setattr(users_module, "_password_matches", slow)
        logins = [asyncio.create_task(users.authenticate(EMAIL, "x")) for _ in range(MOST_WAITING + 20)]
        done = await asyncio.gather(*logins, return_exceptions=True)
        assert max(running) == users_module.AT_A_TIME
        refused = [each for each in done if isinstance(each, Unavailable)]
        assert 0 < len(refused) <= 20
        assert len(running) + len(refused) == len(logins)
        assert await users.authenticate(EMAIL, "x") == admin  # the places are free again

    async def test_a_cancelled_login_gives_its_place_back(self, users: UserService, admin: User) -> None:
        for _ in range(2 * MOST_WAITING):
            login = asyncio.create_task(users.authenticate(EMAIL, "x"))
            await asyncio.sleep(0)
            login.cancel()
        assert await users.authenticate(EMAIL, "correct horse") == admin

    async def test_a_cancelled_login_keeps_its_place_until_its_thread_is_done(
        self, users: UserService, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        may_end, running = threading.Event(), []

        def endless(password: str, password_hash: str) -> bool:
            running.append(password)
            return may_end.wait(10)

        monkeypatch.setattr(users_module, "_password_matches", endless)
        for _ in range(users_module.AT_A_TIME + 3):
            login = asyncio.create_task(users.authenticate(EMAIL, "x"))
            await asyncio.sleep(0.01)
            login.cancel()
        assert len(running) == users_module.AT_A_TIME
        may_end.set()
        assert await users.authenticate(EMAIL, "x") == admin


def test_many_computations_at_once_all_come_to_an_end(cheap: None) -> None:
    """With more than one lane two at a time fail or never end; see LANES."""
    known_hash = users_module._hash_password("x")
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: users_module._password_matches("x", known_hash), range(200)))


class TestChangePassword:
    async def test_the_new_one_holds_and_the_old_one_does_not(self, users: UserService, admin: User) -> None:
        changed = await users.change_password(admin, "battery staple")
        assert await users.authenticate(EMAIL, "battery staple") == changed
        with pytest.raises(Unauthenticated):
            await users.authenticate(EMAIL, "correct horse")

    async def test_who_is_disabled_meanwhile_stays_so(
        self, users: UserService, admin: User, store: SqliteStore
    ) -> None:
        """`admin` is what the request read before; computing the new hash takes a while."""
        await store.set_user_enabled(admin.id, False)
        await users.change_password(admin, "battery staple")
        with pytest.raises(Unauthenticated, match=DISABLED):
            await users.authenticate(EMAIL, "battery staple")

    async def test_the_policy_holds(self, users: UserService, admin: User) -> None:
        with pytest.raises(Invalid, match="6 or more"):
            await users.change_password(admin, "short")


def test_generated_passwords_differ_and_have_no_look_alikes() -> None:
    passwords = {new_password() for _ in range(200)}
    assert len(passwords) == 200
    assert not set("".join(passwords)) & set("0O1lI")
