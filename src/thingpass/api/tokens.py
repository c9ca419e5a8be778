"""Access and refresh tokens: JWT, HS512, with ThingsBoard's claims (rest-api reference 2.3)."""

from __future__ import annotations

import uuid

import msgspec
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OctKey

from thingpass.api.error_answers import TokenExpired
from thingpass.errors import Unauthenticated
from thingpass.store.rows import User

ISSUER = "thingsboard.io"  # the client's and published scripts' expectation; it names the format, not us
REFRESH_SCOPE = "REFRESH_TOKEN"
NULL_UUID = "13814000-1dd2-11b2-8080-808080808080"
LEEWAY_S = 5
"""The published client renews up to one second after the end, and clocks differ a little."""

MAX_TOKEN_CHARACTERS = 4096  # ours have about 650; nothing longer is worth a look at its signature

_ALGORITHM = "HS512"


class Claims(msgspec.Struct, frozen=True, rename="camel"):
    """What we read back of a token; times in seconds since 1970."""

    user_id: str
    session_id: str
    scopes: list[str]
    iat: int
    exp: int

    @property
    def is_refresh(self) -> bool:
        return REFRESH_SCOPE in self.scopes


class TokenPair(msgspec.Struct, frozen=True):
    access: str
    refresh: str

    def __repr__(self) -> str:
        return "TokenPair(...)"  # never the tokens


class Tokens:
    """Makes and reads tokens. Knows no store: whether a user still exists is asked elsewhere."""

    def __init__(self, key: bytes, *, access_token_s: int, refresh_token_s: int) -> None:
        self._key = OctKey.import_key(key)
        self._access_token_s = access_token_s
        self._refresh_token_s = refresh_token_s

    def issue(self, user: User, *, issued_at_s: int, session_id: str | None = None) -> TokenPair:
        """A new pair; of the given session, or of a new one."""
        common: dict[str, object] = {
            "sub": user.email,
            "userId": user.id,
            "sessionId": session_id or str(uuid.uuid4()),
            "iss": ISSUER,
            "iat": issued_at_s,
            "isPublic": False,
        }
        access = {
            **common,
            "scopes": [user.authority],
            "exp": issued_at_s + self._access_token_s,
            "firstName": user.first_name,
            "lastName": user.last_name,
            "enabled": user.enabled,
            "tenantId": user.tenant_id,
            "customerId": user.customer_id or NULL_UUID,
        }
        refresh = {
            **common,
            "scopes": [REFRESH_SCOPE],
            "exp": issued_at_s + self._refresh_token_s,
            "jti": str(uuid.uuid4()),
        }
        return TokenPair(self._sign(access), self._sign(refresh))

    def read(self, token: str, now_s: int) -> Claims:
        """The claims of a token of ours that has not expired.

        Raises TokenExpired (over, or signed by another key) and Unauthenticated (no token at all).
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("Invalid username or password")
        try:
            signed = jws.deserialize_compact(token.encode(), self._key, algorithms=[_ALGORITHM])
            claims = msgspec.json.decode(signed.payload or b"", type=Claims)
        except BadSignatureError as error:
            raise TokenExpired("Token has expired") from error
        except (JoseError, msgspec.DecodeError, ValueError) as error:
            raise Unauthenticated("Invalid username or password") from error
        if claims.exp + LEEWAY_S <= now_s:
            raise TokenExpired("Token has expired")
        return claims

    def _sign(self, claims: dict[str, object]) -> str:
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key, algorithms=[_ALGORITHM])
