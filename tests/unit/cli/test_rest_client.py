from __future__ import annotations

import socket
import stat
from pathlib import Path

import msgspec
import pytest

from tests.unit.cli.conftest import Stub
from thingpass.cli.failures import Failure
from thingpass.cli.logins import Login, Logins, logins_file, read_logins, write_logins
from thingpass.cli.rest_client import (
    DEFAULT_URL,
    RestClient,
    ServerRefused,
    TokenPair,
    checked_url,
    connect,
    is_this_machine,
)
from thingpass.cli.shapes import Device

LOGIN = Login(username="a@b.c", token="old-token", refresh_token="refresh")


def test_answer_is_read_as_json_and_as_a_shape(stub: Stub) -> None:
    stub.answer("GET", "/x", {"id": {"id": "1"}, "name": "Pump", "unknown": 1})
    answer = RestClient(stub.url).get("/x", {"a b": "ü&", "n": 1, "yes": True, "none": None})
    assert answer.as_(Device).name == "Pump"
    assert answer.json() == {"id": {"id": "1"}, "name": "Pump", "unknown": 1}
    assert stub.requests[0].query == {"a b": "ü&", "n": "1", "yes": "true"}
    assert "X-Authorization" not in stub.requests[0].headers


def test_body_is_sent_as_json(stub: Stub) -> None:
    stub.answer("POST", "/base/x", b"")
    assert RestClient(stub.url + "/base/").post("/x", {"a": 1}).json() is None
    assert stub.requests[0].json() == {"a": 1}


def test_error_object_becomes_sentence_and_mend(stub: Stub) -> None:
    stub.refuse("GET", "/x", 400, "No such thing.", mend="Do that.")
    with pytest.raises(ServerRefused) as raised:
        RestClient(stub.url).get("/x")
    assert (raised.value.sentence, raised.value.mend, raised.value.status) == (
        "No such thing.",
        "Do that.",
        400,
    )


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"Device with requested id wasn't found!", "Device with requested id wasn't found!"),
        (b'"quoted"', "quoted"),
        (b"<html>a page of a proxy</html>", "The server answered 502 without a reason."),
        (b"", "The server answered 502 without a reason."),
    ],
)
def test_error_without_an_object_is_understood(stub: Stub, body: bytes, sentence: str) -> None:
    stub.answer("GET", "/x", body, 502)
    with pytest.raises(Failure) as raised:
        RestClient(stub.url).get("/x")
    assert raised.value.sentence == sentence


def test_what_is_no_thingpass_is_named(stub: Stub) -> None:
    stub.answer("GET", "/x", b"<html>")
    answer = RestClient(stub.url).get("/x")
    for read in (answer.json, lambda: answer.as_(Device)):
        with pytest.raises(Failure, match=f"What answers at {stub.url} is not this version of Thingpass"):
            read()


def test_nobody_there_says_how_to_start_the_server() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Failure) as raised:
            RestClient(url).get("/x")
    assert raised.value.sentence == f"No server answers at {url}."
    assert "thingpass up" in str(raised.value.mend)


def test_silence_ends_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thingpass.cli.rest_client.TIMEOUT_S", 0.1)
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(Failure, match=r"did not answer within 0\.1 s\."):
        RestClient(f"http://127.0.0.1:{silent.getsockname()[1]}").get("/x")


def test_other_protocols_and_unknown_names_are_told(stub: Stub) -> None:
    with pytest.raises(Failure, match="No TLS connection to https://127"):
        RestClient(f"https://127.0.0.1:{stub.port}").get("/x")
    with pytest.raises(Failure, match=r"The name in http://no-such\.invalid is not known\."):
        RestClient("http://no-such.invalid").get("/x")


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://a", "http://", "http://a:b", "http://u:p@a", "http://a?b"]
)
def test_address_that_cannot_be_used_is_wrong_usage(url: str) -> None:
    with pytest.raises(Failure, match="is not the address of a server") as raised:
        checked_url(url)
    assert raised.value.exit_code == 2


def test_loopback_is_known_by_address_and_by_its_name() -> None:
    assert all(
        map(
            is_this_machine, ["http://127.0.0.1:1", "http://localhost", "https://[::1]:2", "http://127.9.9.9"]
        )
    )
    assert not any(
        map(is_this_machine, ["http://192.0.2.1", "http://localhost.example", "http://127.0.0.1.nip.io"])
    )


# Who is asking


def local_secret(directory: Path) -> dict[str, str]:
    directory.mkdir(parents=True)
    (directory / "local-secret").write_text("s3cret\n")
    return {"THINGPASS_DATA_DIR": str(directory)}


def authorization(stub: Stub, env: dict[str, str]) -> str | None:
    stub.answer("GET", "/x", {})
    connect(env).get("/x")
    return stub.requests[-1].headers.get("X-Authorization")


def test_token_wins_over_login_and_login_over_the_local_secret(stub: Stub, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "THINGPASS_URL": stub.url}
    assert authorization(stub, env) is None
    env |= local_secret(tmp_path / "data")
    assert authorization(stub, env) == "Local s3cret"
    write_logins(logins_file(env), Logins().with_login(stub.url, LOGIN))
    assert authorization(stub, env) == "Bearer old-token"
    assert authorization(stub, {**env, "THINGPASS_TOKEN": "jwt"}) == "Bearer jwt"


def test_local_secret_of_the_default_data_directory_is_found(stub: Stub, tmp_path: Path) -> None:
    local_secret(tmp_path / ".local" / "share" / "thingpass")
    assert authorization(stub, {"HOME": str(tmp_path), "THINGPASS_URL": stub.url}) == "Local s3cret"


def test_local_secret_never_leaves_the_machine(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "THINGPASS_URL": "http://192.0.2.1", **local_secret(tmp_path / "data")}
    assert connect(env)._authorization is None


def test_default_url_is_the_one_of_the_last_login_else_this_machine(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    assert connect(env).url == DEFAULT_URL
    write_logins(logins_file(env), Logins().with_login("http://192.0.2.1", LOGIN))
    assert connect(env).url == "http://192.0.2.1"
    assert connect({**env, "THINGPASS_URL": "http://127.0.0.1:1/"}).url == "http://127.0.0.1:1"


def test_nobody_known_is_told_to_log_in(stub: Stub, tmp_path: Path) -> None:
    stub.refuse("GET", "/x", 401, "Authentication failed", 10)
    with pytest.raises(Failure) as raised:
        connect({"HOME": str(tmp_path), "THINGPASS_URL": stub.url}).get("/x")
    assert raised.value.sentence == "Authentication failed"
    assert f"thingpass login --url {stub.url}" in str(raised.value.mend)


def test_expired_token_is_renewed_once_and_saved(stub: Stub, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "THINGPASS_URL": stub.url}
    write_logins(logins_file(env), Logins().with_login(stub.url, LOGIN))
    stub.refuse("GET", "/x", 401, "Token has expired", 11)
    stub.answer("GET", "/x", {"fine": True})
    stub.answer("POST", "/api/auth/token", {"token": "new-token", "refreshToken": "new-refresh"})
    assert connect(env).get("/x").json() == {"fine": True}
    assert stub.asked("POST", "/api/auth/token").json() == {"refreshToken": "refresh"}
    assert "X-Authorization" not in stub.asked("POST", "/api/auth/token").headers
    assert stub.requests[-1].headers["X-Authorization"] == "Bearer new-token"
    saved = read_logins(logins_file(env)).by_url[stub.url]
    assert (saved.token, saved.refresh_token, saved.username) == ("new-token", "new-refresh", "a@b.c")


def test_login_that_cannot_be_renewed_falls_back_to_the_local_secret(stub: Stub, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "THINGPASS_URL": stub.url, **local_secret(tmp_path / "data")}
    write_logins(logins_file(env), Logins().with_login(stub.url, LOGIN))
    stub.refuse("GET", "/x", 401, "Token has expired", 11)
    stub.answer("GET", "/x", {})
    stub.refuse("POST", "/api/auth/token", 401, "Token has expired", 11)
    connect(env).get("/x")
    assert stub.requests[-1].headers["X-Authorization"] == "Local s3cret"


def test_login_that_has_ended_says_so(stub: Stub, tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "THINGPASS_URL": stub.url}
    write_logins(logins_file(env), Logins().with_login(stub.url, LOGIN))
    stub.refuse("GET", "/x", 401, "Token has expired", 11)
    with pytest.raises(Failure) as raised:
        connect(env).get("/x")
    assert raised.value.sentence == f"Your login at {stub.url} has ended."
    assert raised.value.mend == f"thingpass login --url {stub.url}"


# The file of logins


def test_logins_are_private_and_read_back(tmp_path: Path) -> None:
    path = logins_file({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    logins = Logins().with_login("http://a", LOGIN).with_login("http://b", LOGIN)
    write_logins(path, logins)
    assert path == tmp_path / "config" / "thingpass" / "logins.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_logins(path) == logins
    assert list(path.parent.iterdir()) == [path]


def test_forgetting_a_login_keeps_the_others() -> None:
    logins = Logins().with_login("http://a", LOGIN).with_login("http://b", LOGIN)
    assert logins.without("http://a") == Logins(current="http://b", by_url={"http://b": LOGIN})
    assert logins.without("http://b").current is None


def test_damaged_file_is_named_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "logins.json"
    path.write_text('{"by_url": {"http://a": {"token": "swordfish"')
    with pytest.raises(Failure) as raised:
        read_logins(path)
    assert raised.value.sentence == f"{path} is damaged."
    assert "swordfish" not in repr(raised.value.__context__)
    assert raised.value.__cause__ is None


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="The login cannot be saved"):
        write_logins(tmp_path / "file" / "logins.json", Logins())


def test_tokens_are_in_no_repr() -> None:
    shown = repr(
        [LOGIN, Logins().with_login("http://a", LOGIN), TokenPair(token="old-token", refresh_token="refresh")]
    )
    assert "old-token" not in shown
    assert "refresh'" not in shown


def test_shapes_need_only_what_commands_show() -> None:
    assert msgspec.json.decode(b'{"id":{"id":"1"},"name":"x"}', type=Device).label is None
