"""The people: first administrator, login, passwords.

Passwords are kept as Argon2id in PHC strings: 64 MiB and 2 passes, above OWASP's recommendation for one lane.
One takes some 200 ms and 64 MiB, so they run in threads, few at a time; who would have to wait too long is
told to come back. An unknown name costs the same time as a wrong password.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import msgspec
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from thingpass.clock import Clock
from thingpass.devices.roles import TENANT_ADMIN
from thingpass.errors import AlreadyExists, Invalid, NotFound, Unauthenticated, Unavailable
from thingpass.store.rows import User
from thingpass.store.store import UserStore

P = ParamSpec("P")
T = TypeVar("T")

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
PASSES: Final = 2
MEMORY_KIB: Final = 65_536
LANES: Final = 1
"""Never more: OpenSSL computes lanes in one thread pool for the whole process, and two computations of 4
lanes at the same time fail with MemoryError or wait for each other for ever (cryptography 50.0, measured)."""

AT_A_TIME: Final = 2
"""Password computations at once: 128 MiB and, on small machines, not every core."""
MOST_WAITING: Final = 50
"""Beyond these a login is refused at once: 50 take some 4 s, and nobody waits longer gladly."""

SHORTEST_PASSWORD: Final = 6
LONGEST_PASSWORD: Final = 72
"""ThingsBoard's policy (REST reference, 2.4), kept so that its clients' passwords fit."""

LONGEST_LOGIN_PASSWORD: Final = 1_024

_CLEAR_CHARACTERS: Final = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

# What an unknown user's password is compared with: same work, and no password is known to give 32 zero bytes.
_DECOY_HASH: Final = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$dGhpbmdwYXNzLWRlY295cw$" + "A" * (
    HASH_BYTES * 4 // 3 + 1
)

WRONG_LOGIN: Final = "Invalid username or password"
DISABLED: Final = "User account is not active"


class FirstAdministrator(msgspec.Struct, frozen=True):
    """Who was made at the first start. `generated_password` is to be shown once; None: it was given."""

    user: User
    generated_password: str | None

    def __repr__(self) -> str:
        return f"FirstAdministrator({self.user.email!r})"


class UserService:
    """Use it on one event loop."""

    def __init__(self, store: UserStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._places = _Places()

    async def ensure_first_administrator(
        self, tenant_id: str, *, email: str, password: str | None = None
    ) -> FirstAdministrator | None:
        """Makes the tenant's administrator when there is no user at all; None when there is one.

        Without `password` one is generated (93 bits). Raises Invalid for a password or name that cannot be.
        """
        if await self._store.count_users():
            return None
        check_email(email)
        if password is not None:
            check_new_password(password)
        generated = new_password() if password is None else None
        user = User(
            id=str(uuid.uuid4()),
            created_at_ms=self._clock.now_ms(),
            tenant_id=tenant_id,
            authority=TENANT_ADMIN,
            email=email,
            password_hash=await self.hash_password(password or generated or ""),
        )
        try:
            await self._store.add_user(user)
        except AlreadyExists:
            return None  # another process was faster
        return FirstAdministrator(user, generated)

    async def authenticate(self, email: str, password: str) -> User:
        """The user of this name and password; names match as the store matches them.

        Raises Unauthenticated, with the same sentence and after the same time for an unknown name as for a
        wrong password, and Unavailable when too many logins wait.
        """
        if len(password) > LONGEST_LOGIN_PASSWORD:
            raise Unauthenticated(WRONG_LOGIN)
        user = await self._store.find_user_by_email(email)
        known = _DECOY_HASH if user is None else user.password_hash or _DECOY_HASH
        right = await self._verify(password, known)
        if user is None or not user.password_hash or not right:
            raise Unauthenticated(WRONG_LOGIN)
        if not user.enabled:  # said only to somebody who knows the password
            raise Unauthenticated(DISABLED)
        return user

    async def change_password(self, user: User, new_password: str) -> User:
        """Stores a new password; the caller has checked the old one. Raises Invalid, NotFound."""
        check_new_password(new_password)
        if await self._store.find_user(user.id) is None:
            raise NotFound(f"User with id [{user.id}] is not found")
        password_hash = await self.hash_password(new_password)
        await self._store.set_user_password(user.id, password_hash)
        return msgspec.structs.replace(user, password_hash=password_hash)

    async def hash_password(self, password: str) -> str:
        """As it is stored; the caller has checked it. Raises Unavailable when too many wait."""
        return await self._places.run(_hash_password, password)

    async def _verify(self, password: str, password_hash: str) -> bool:
        return await self._places.run(_password_matches, password, password_hash)


class _Places:
    """The few places for password computations; refuses when too many wait for one."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_A_TIME)
        self._waiting = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls the function in a thread. Its place is taken until the thread is done, cancelled or not."""
        if self._waiting >= MOST_WAITING:
            raise Unavailable("Too many logins are under way.", mend="Try again in a few seconds.")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
        work.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(work)


def new_password() -> str:
    """16 random letters and digits, without those that look alike."""
    return "".join(secrets.choice(_CLEAR_CHARACTERS) for _ in range(16))


def check_new_password(password: str) -> None:
    """ThingsBoard's default policy; raises Invalid."""
    if len(password) < SHORTEST_PASSWORD:
        raise Invalid(f"Password must be {SHORTEST_PASSWORD} or more characters in length.")
    if len(password) > LONGEST_PASSWORD:
        raise Invalid(f"Password must be no more than {LONGEST_PASSWORD} characters in length.")


def check_email(email: str) -> None:
    """Raises Invalid in ThingsBoard's words."""
    if not email:
        raise Invalid("User email should be specified!")
    name, at, host = email.rpartition("@")
    if not (name and at and host) or not email.isprintable() or " " in email:
        raise Invalid(f"Invalid email address format {email[:100]!r}!")


def _hash_password(password: str) -> str:
    kdf = Argon2id(
        salt=secrets.token_bytes(SALT_BYTES),
        length=HASH_BYTES,
        iterations=PASSES,
        lanes=LANES,
        memory_cost=MEMORY_KIB,
    )
    return kdf.derive_phc_encoded(password.encode("utf-8", "surrogatepass"))


def _password_matches(password: str, password_hash: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), password_hash)
    except InvalidKey:
        return False
    return True
