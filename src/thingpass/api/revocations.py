"""Which access and refresh tokens ended before their time: by logout, or by a new password.

Kept in memory and in one small file, so that a restart does not bring a session back. Bounded: a session's
entry goes when its tokens would have expired anyway, and one user's many entries become a single one that
ends all sessions of that user, which errs on the safe side.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from thingpass.errors import Invalid
from thingpass.private_files import write_private_file

FILE = "api-revocations.json"
MAX_SESSIONS_PER_USER = 100


class EndedSession(msgspec.Struct, frozen=True):
    user_id: str
    forget_at_s: int  # when its last token has expired


class _Content(msgspec.Struct):
    sessions: dict[str, EndedSession] = {}
    users: dict[str, int] = {}


class Revocations:
    """Answers `is_revoked` from memory; `end_session` and `end_user` return when the file has it too."""

    def __init__(self, data_dir: Path, token_life_s: int) -> None:
        """`token_life_s`: the longest life of any token. Raises Invalid when the file cannot be read."""
        self._path = data_dir / FILE
        self._token_life_s = token_life_s
        self._content = _load(self._path)
        self._writing = asyncio.Lock()

    def is_revoked(self, user_id: str, session_id: str, issued_at_s: int) -> bool:
        return session_id in self._content.sessions or issued_at_s < self._content.users.get(user_id, 0)

    def earliest_issue_s(self, user_id: str, now_s: int) -> int:
        """The `iat` for a token made now: later than every token that `end_user` has ended."""
        return max(now_s, self._content.users.get(user_id, 0))

    async def end_session(self, user_id: str, session_id: str, now_s: int) -> None:
        sessions = self._content.sessions
        sessions[session_id] = EndedSession(user_id, now_s + self._token_life_s)
        self._forget(now_s)
        if sum(ended.user_id == user_id for ended in sessions.values()) > MAX_SESSIONS_PER_USER:
            self._end_all_of(user_id, now_s)
        await self._save()

    async def end_user(self, user_id: str, now_s: int) -> None:
        """Ends every session of the user, those of this very second included."""
        self._forget(now_s)
        self._end_all_of(user_id, now_s)
        await self._save()

    def _end_all_of(self, user_id: str, now_s: int) -> None:
        # Tokens carry whole seconds: one more, so that a token of this second is among the ended ones.
        self._content.users[user_id] = now_s + 1
        sessions = self._content.sessions
        self._content.sessions = {key: ended for key, ended in sessions.items() if ended.user_id != user_id}

    def _forget(self, now_s: int) -> None:
        content = self._content
        content.sessions = {
            key: ended for key, ended in content.sessions.items() if ended.forget_at_s > now_s
        }
        content.users = {key: at for key, at in content.users.items() if at + self._token_life_s > now_s}

    async def _save(self) -> None:
        async with self._writing:
            content = msgspec.json.encode(self._content)
            await asyncio.to_thread(write_private_file, self._path, content)


def _load(path: Path) -> _Content:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Content)
    except FileNotFoundError:
        return _Content()
    except msgspec.DecodeError as error:
        raise Invalid(
            f"{path} cannot be read: {error}.",
            mend="Remove it together with api-signing-key; everybody logs in again.",
        ) from error
