"""Who is asking: a token or the local secret in a header becomes a `Caller` (rest-api reference 2.2)."""

from __future__ import annotations

import hmac
import ipaddress

import msgspec
from starlette.requests import Request

from thingpass.api.error_answers import TokenExpired
from thingpass.api.revocations import Revocations
from thingpass.api.secret_files import load_or_make_signing_key
from thingpass.api.services import Services
from thingpass.api.tokens import Claims, TokenPair, Tokens
from thingpass.devices.roles import TENANT_ADMIN
from thingpass.errors import Forbidden, Unauthenticated
from thingpass.store.rows import User
from thingpass.store.store import TenantStore

FORWARDING_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip")


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, on one request. `user` and `session_id` are None for the local secret."""

    tenant_id: str
    authority: str  # as it is now, not as it was when the token was made
    user: User | None = None
    session_id: str | None = None

    @property
    def customer_id(self) -> str | None:
        """Of a customer's user; None for everybody else, who are bounded by the tenant alone."""
        return None if self.user is None else self.user.customer_id


class Authentication:
    """Tokens and the local secret, checked on each request; sessions, begun and ended."""

    def __init__(self, services: Services) -> None:
        """Makes the signing key when there is none. Raises Invalid for unreadable files."""
        settings = services.settings
        self._services = services
        self._tokens = Tokens(
            load_or_make_signing_key(services.data_dir),
            access_token_s=settings.access_token_s,
            refresh_token_s=settings.refresh_token_s,
        )
        longest_s = max(settings.access_token_s, settings.refresh_token_s)
        self._revocations = Revocations(services.data_dir, longest_s)

    async def identify(self, request: Request) -> Caller:
        """Raises Unauthenticated (or TokenExpired) with ThingsBoard's sentence for the cause."""
        headers = request.headers
        credential = headers.get("x-authorization", "").strip() or headers.get("authorization", "").strip()
        scheme, _, secret = credential.partition(" ")
        if scheme == "Bearer":
            return await self._caller_by_token(secret)
        if scheme == "Local":
            return await self._caller_by_local_secret(request, secret)
        if credential.count(".") == 2 and not secret:
            return await self._caller_by_token(credential)  # older recipes send the token alone
        if scheme == "ApiKey":
            raise Unauthenticated("Invalid username or password", mend="This server has no API keys: log in.")
        raise Unauthenticated("Authentication failed")

    async def begin_session(self, user: User) -> TokenPair:
        return self._tokens.issue(user, issued_at_s=self._issue_s(user))

    async def renew(self, refresh_token: str) -> TokenPair:
        """A new pair for a refresh token.

        Deviates: the session stays the same (ThingsBoard makes a new one), so that a logout ends the earlier
        refresh tokens of the session too. Raises Unauthenticated, TokenExpired.
        """
        claims = self._tokens.read(refresh_token, self._now_s())
        if not claims.is_refresh:
            raise Unauthenticated(
                "Authentication failed", mend="Send the refresh token, not the access token."
            )
        if self._is_revoked(claims):
            raise Unauthenticated("Token is outdated")
        user = await self._user(claims)
        return self._tokens.issue(user, issued_at_s=self._issue_s(user), session_id=claims.session_id)

    async def end_session(self, caller: Caller) -> None:
        """Ends the caller's session, its refresh tokens included. The local secret has no session to end."""
        if caller.user is not None and caller.session_id is not None:
            await self._revocations.end_session(caller.user.id, caller.session_id, self._now_s())

    async def end_all_sessions(self, user: User) -> None:
        await self._revocations.end_user(user.id, self._now_s())

    async def _caller_by_token(self, token: str) -> Caller:
        claims = self._tokens.read(token, self._now_s())
        if claims.is_refresh:
            raise Unauthenticated(
                "Authentication failed", mend="Send the access token, not the refresh token."
            )
        if self._is_revoked(claims):
            raise TokenExpired("Token has expired")
        user = await self._user(claims)
        return Caller(
            tenant_id=user.tenant_id, authority=user.authority, user=user, session_id=claims.session_id
        )

    async def _user(self, claims: Claims) -> User:
        """The user as stored now: one disabled or removed since the token was made gets no further."""
        user = await self._services.store.find_user(claims.user_id)
        if user is None:
            raise TokenExpired("Token has expired")
        if not user.enabled:
            raise Unauthenticated("User account is not active")
        return user

    async def _caller_by_local_secret(self, request: Request, secret: str) -> Caller:
        # A proxy on this machine would make everybody local, so a forwarded request never is.
        forwarded = any(name in request.headers for name in FORWARDING_HEADERS)
        local = not forwarded and is_loopback(request.client.host if request.client else "")
        right = hmac.compare_digest(secret.encode(), self._services.local_secret.encode())
        if not (local and right):
            raise Unauthenticated("Authentication failed")
        return Caller(tenant_id=await find_first_tenant(self._services.store), authority=TENANT_ADMIN)

    def _is_revoked(self, claims: Claims) -> bool:
        return self._revocations.is_revoked(claims.user_id, claims.session_id, claims.iat)

    def _issue_s(self, user: User) -> int:
        return self._revocations.earliest_issue_s(user.id, self._now_s())

    def _now_s(self) -> int:
        return self._services.clock.now_ms() // 1000


async def find_first_tenant(store: TenantStore) -> str:
    """The id of the tenant whose administrator runs the installation. Raises Forbidden when there is none."""
    tenants = await store.list_tenants()
    if not tenants:
        raise Forbidden("There is no tenant yet.")
    return min(tenants, key=lambda tenant: (tenant.created_at_ms, tenant.id)).id


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
