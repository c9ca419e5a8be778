from __future__ import annotations

import json
import os
from pathlib import Path

from tests.unit.cli.conftest import Run, Stub
from thingpass.cli.logins import logins_file, read_logins

PAIR = {"token": "jwt-1", "refreshToken": "jwt-2"}


def test_password_is_read_from_standard_input_and_the_tokens_are_kept(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/auth/login", PAIR)
    result = run("login", "--username", "a@b.c", stdin="swordfish\n")
    assert result.exit_code == 0, result.output
    assert stub.asked("POST", "/api/auth/login").json() == {"username": "a@b.c", "password": "swordfish"}
    assert f"Logged in to {stub.url} as a@b.c." in result.stdout
    assert "jwt" not in result.output
    saved = read_logins(logins_file(os.environ))
    assert saved.current == stub.url
    assert (saved.by_url[stub.url].token, saved.by_url[stub.url].refresh_token) == ("jwt-1", "jwt-2")


def test_password_is_taken_from_the_variable(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/auth/login", PAIR)
    result = run("login", "--json", env={"THINGPASS_PASSWORD": "p", "THINGPASS_USERNAME": "me"})
    assert stub.asked("POST", "/api/auth/login").json() == {"username": "me", "password": "p"}
    assert json.loads(result.stdout) == {
        "url": stub.url,
        "username": "me",
        "file": str(Path(os.environ["HOME"]) / ".config" / "thingpass" / "logins.json"),
    }


def test_later_commands_go_where_the_login_went(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/auth/login", PAIR)
    stub.answer("GET", "/api/v2/connections", {"data": []})
    run("login", "--url", stub.url, stdin="p\n", env={"THINGPASS_URL": ""})
    assert run("connections", env={"THINGPASS_URL": ""}).exit_code == 0
    assert stub.requests[-1].headers["X-Authorization"] == "Bearer jwt-1"


def test_wrong_password_is_the_servers_sentence_and_nothing_is_kept(run: Run, stub: Stub) -> None:
    stub.refuse("POST", "/api/auth/login", 401, "Invalid username or password", 10)
    result = run("login", "--username", "me", stdin="wrong\n")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"Error: Invalid username or password (me at {stub.url}).",
        "Mend: Check the name, then the password.",
    ]
    assert not logins_file(os.environ).exists()


def test_no_password_is_wrong_usage(run: Run) -> None:
    result = run("login", stdin="")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, "Error: There is no password.")


def test_logout_ends_the_tokens_and_forgets_them(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/auth/login", PAIR)
    stub.answer("POST", "/api/auth/logout")
    run("login", stdin="p\n")
    result = run("logout")
    assert result.stdout == f"Logged out of {stub.url}.\n"
    assert stub.asked("POST", "/api/auth/logout").headers["X-Authorization"] == "Bearer jwt-1"
    assert read_logins(logins_file(os.environ)).by_url == {}
    assert run("logout").exit_code == 1


def test_logout_forgets_even_if_the_server_cannot_be_told(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/auth/login", PAIR)
    stub.refuse("POST", "/api/auth/logout", 500, "Out of order")
    run("login", stdin="p\n")
    result = run("logout", "--json")
    assert json.loads(result.stdout) == {"url": stub.url, "ended_at_server": False}
    assert "Warning: the server was not told: Out of order" in result.stderr
    assert read_logins(logins_file(os.environ)).current is None
