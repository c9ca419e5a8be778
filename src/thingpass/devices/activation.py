"""Users beyond the first administrator: added by one, activated by a link (REST reference, 7.1).

A user that was added has no password, and so cannot log in. Who has the link chooses the password, once. Only
the digest of the link's token is kept: asking for the link again makes a new one, and the old one ends.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import Final, Protocol

import msgspec
import structlog

from thingpass.clock import Clock
from thingpass.devices.roles import CUSTOMER_USER, TENANT_ADMIN
from thingpass.devices.users import UserService, check_email, check_new_password
from thingpass.errors import AlreadyExists, Invalid, NotFound
from thingpass.store.rows import Activation, User, UserPage
from thingpass.store.store import CustomerStore, UserStore

log = structlog.get_logger(__name__)

LINK_S: Final = 86_400
"""A day, as in ThingsBoard."""

LONGEST_NAME: Final = 255
LONGEST_TOKEN: Final = 200

_INVALID_TOKEN: Final = "Unable to activate user: the activation link is unknown or has ended."  # noqa: S105
_ADDABLE: Final = (TENANT_ADMIN, CUSTOMER_USER)


class ActivationStore(UserStore, CustomerStore, Protocol):
    """What this service needs of the store."""


class ActivationLink(msgspec.Struct, frozen=True):
    """What activates a user, for so long."""

    token: str
    lasts_ms: int

    def __repr__(self) -> str:
        return "ActivationLink(...)"


class UserAccounts:
    """Adds, changes, lists and removes the users of a tenant. Use it on one event loop."""

    def __init__(self, store: ActivationStore, users: UserService, clock: Clock) -> None:
        self._store = store
        self._users = users
        self._clock = clock

    async def add(self, user: User) -> User:
        """Stores a new one without a password. Raises Invalid and AlreadyExists in ThingsBoard's words."""
        check_email(user.email)
        _check_names(user)
        if user.authority not in _ADDABLE:
            raise Invalid(
                "User authority isn't defined!"
                if not user.authority
                else f"Users of authority {user.authority[:50]!r} cannot be added!",
                mend=f"Use {' or '.join(_ADDABLE)}.",
            )
        if user.authority == TENANT_ADMIN and user.customer_id is not None:
            raise Invalid("Tenant administrator can't be assigned to customer!")
        if user.authority == CUSTOMER_USER:
            await self._check_customer(user)
        added = msgspec.structs.replace(
            user, id=str(uuid.uuid4()), created_at_ms=self._clock.now_ms(), password_hash="", enabled=True
        )
        try:
            await self._store.add_user(added)
        except AlreadyExists as error:
            raise _email_taken(user.email, error) from error
        log.info("user.added", user_id=added.id, authority=added.authority)
        return added

    async def update(self, tenant_id: str, user: User) -> User:
        """Changes e-mail, names, phone and additional information.

        Raises NotFound, Invalid, AlreadyExists.
        """
        stored = await self.get(tenant_id, user.id)
        check_email(user.email)
        _check_names(user)
        if user.authority != stored.authority:
            raise Invalid("Can't update user authority!")
        if user.customer_id != stored.customer_id:
            raise Invalid("Can't update user customer id!")
        changed = msgspec.structs.replace(
            stored,
            email=user.email,
            first_name=user.first_name,
            last_name=user.last_name,
            phone=user.phone,
            additional_info_json=user.additional_info_json,
        )
        try:
            await self._store.update_user(changed)
        except AlreadyExists as error:
            raise _email_taken(user.email, error) from error
        return changed

    async def remove(self, tenant_id: str, user_id: str) -> None:
        """Raises NotFound, and Invalid for the last administrator."""
        user = await self.get(tenant_id, user_id)
        if not await self._store.remove_user(user.id, never_the_last=TENANT_ADMIN):
            raise Invalid("At least one tenant administrator must remain!")
        log.info("user.removed", user_id=user.id, authority=user.authority)

    async def set_enabled(self, tenant_id: str, user_id: str, *, enabled: bool) -> User:
        """Whether the user may log in. Raises NotFound."""
        user = await self.get(tenant_id, user_id)
        await self._store.set_user_enabled(user.id, enabled)
        log.info("user.enabled" if enabled else "user.disabled", user_id=user_id)
        return msgspec.structs.replace(user, enabled=enabled)

    async def get(self, tenant_id: str, user_id: str) -> User:
        """Raises NotFound for one that does not exist or is another tenant's."""
        user = await self._store.find_user(user_id)
        if user is None or user.tenant_id != tenant_id:
            raise NotFound(f"User with id [{user_id}] is not found")
        return user

    async def list(
        self,
        tenant_id: str,
        *,
        customer_id: str | None = None,
        limit: int,
        offset: int = 0,
        text_search: str | None = None,
        sort_by: str = "created_at_ms",
        descending: bool = False,
    ) -> UserPage:
        """One page of the tenant's (or a customer's) users; `text_search` is a part of the e-mail address."""
        return await self._store.list_users(
            tenant_id,
            customer_id=customer_id,
            limit=limit,
            offset=offset,
            text_search=text_search,
            sort_by=sort_by,
            descending=descending,
        )

    async def make_link(self, user: User) -> ActivationLink:
        """A new activation link; an earlier one ends. Raises Invalid for a user that has a password."""
        if user.password_hash:
            raise Invalid("User is already activated!")
        link = ActivationLink(secrets.token_urlsafe(32), LINK_S * 1_000)
        await self._store.save_activation(
            Activation(
                user_id=user.id,
                token_sha256=_digest(link.token),
                expires_at_ms=self._clock.now_ms() + link.lasts_ms,
            )
        )
        return link

    async def activate(self, token: str, password: str) -> User:
        """Sets the password of whom the link is for; the link ends. Raises Invalid."""
        digest = _digest(token[:LONGEST_TOKEN])
        found = await self._store.find_activation(digest)
        if found is None or self._clock.now_ms() >= found.expires_at_ms:
            raise Invalid(_INVALID_TOKEN, mend="Ask whoever sent it for a new one.")
        check_new_password(password)
        user = await self._store.activate_user(digest, await self._users.hash_password(password))
        if user is None:  # used by somebody else meanwhile
            raise Invalid(_INVALID_TOKEN)
        log.info("user.activated", user_id=user.id, authority=user.authority)
        return user

    async def _check_customer(self, user: User) -> None:
        if user.customer_id is None:
            raise Invalid("Customer user should be assigned to customer!")
        customer = await self._store.find_customer(user.customer_id)
        if customer is None or customer.tenant_id != user.tenant_id:
            raise Invalid("User is referencing to non-existent customer!")


def _check_names(user: User) -> None:
    for field, text in (("firstName", user.first_name), ("lastName", user.last_name), ("phone", user.phone)):
        if len(text or "") > LONGEST_NAME:
            raise Invalid(f"Validation error: {field} length must be equal or less than {LONGEST_NAME}")
        if "\x00" in (text or "") or "<" in (text or ""):
            raise Invalid(f"Validation error: {field} is malformed")


def _email_taken(email: str, error: AlreadyExists) -> AlreadyExists:
    return AlreadyExists(
        f"User with email '{email}' already present in database!", constraint=error.constraint
    )


def _digest(token: str) -> str:
    """A token has 256 random bits, so its digest needs neither salt nor time."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
