"""What `thingpass login` keeps: the tokens per server, in one file of the user's, 0600."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from thingpass.cli.failures import Failure
from thingpass.private_files import write_private_file


class Login(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    token: str
    refresh_token: str

    def __repr__(self) -> str:
        return f"Login({self.username!r})"  # never the tokens


class Logins(msgspec.Struct, frozen=True, kw_only=True):
    """`current` is the URL that commands go to when THINGPASS_URL is not set."""

    current: str | None = None
    by_url: dict[str, Login] = msgspec.field(default_factory=dict)

    def with_login(self, url: str, login: Login) -> Logins:
        return Logins(current=url, by_url={**self.by_url, url: login})

    def without(self, url: str) -> Logins:
        rest = {other: login for other, login in self.by_url.items() if other != url}
        return Logins(current=None if self.current == url else self.current, by_url=rest)


def logins_file(environ: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/thingpass/logins.json`, or under `~/.config`."""
    config_home = environ.get("XDG_CONFIG_HOME", "")
    if Path(config_home).is_absolute():
        return Path(config_home) / "thingpass" / "logins.json"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".config" / "thingpass" / "logins.json"


def read_logins(path: Path) -> Logins:
    """What is saved; nothing saved is an empty value. Raises Failure for a file that cannot be used."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Logins)
    except FileNotFoundError:
        return Logins()
    except OSError as error:
        raise Failure(f"The saved logins cannot be read: {path}: {error.strerror}.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError):  # no `from`: the text around may be a token
        raise Failure(f"{path} is damaged.", "Remove the file and log in again.") from None


def write_logins(path: Path, logins: Logins) -> None:
    """Replace the file, 0600 from its first byte. Raises Failure."""
    content = msgspec.json.format(msgspec.json.encode(logins), indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private_file(path, content)
    except OSError as error:
        raise Failure(f"The login cannot be saved: {path}: {error.strerror}.") from error
