from __future__ import annotations

import typing
from pathlib import Path

import msgspec
import pytest

from thingpass.setting_kinds import BOOLEAN, MASK, NAMES, PATH, SECRET, TEXT, Kind, one_of, port, whole
from thingpass.settings import (
    CLIENT_VARIABLES,
    GROUPS,
    SETTINGS,
    LimitSettings,
    Secret,
    Setting,
    SettingInvalid,
    Settings,
    default_data_dir,
    effective_values,
    load,
    load_settings,
    unknown_variables,
)

HOME = {"HOME": "/home/someone"}


def loaded(
    toml: str = "", *, tmp_path: Path | None = None, flags: dict[str, object] | None = None, **environ: str
) -> Settings:
    config_file = None
    if tmp_path is not None:
        config_file = tmp_path / "thingpass.toml"
        config_file.write_text(toml, encoding="utf-8")
    return load_settings(config_file=config_file, flags=flags or {}, environ={**HOME, **environ})


def fault(
    toml: str = "", *, tmp_path: Path | None = None, flags: dict[str, object] | None = None, **environ: str
) -> str:
    with pytest.raises(SettingInvalid) as raised:
        loaded(toml, tmp_path=tmp_path, flags=flags, **environ)
    assert "\n" not in raised.value.sentence
    return raised.value.sentence


# The table and the structs


def test_every_field_has_one_row_and_every_row_its_field() -> None:
    fields = {
        f"{group}.{field.name}"
        for group, struct in GROUPS.items()
        for field in msgspec.structs.fields(struct)
    } | {field.name for field in msgspec.structs.fields(Settings) if field.name not in GROUPS}
    keys = [row.key for row in SETTINGS]
    assert len(keys) == len(set(keys))
    assert set(keys) == fields


@pytest.mark.parametrize("attribute", ["environment", "help"])
def test_no_two_rows_share(attribute: str) -> None:
    values = [getattr(row, attribute) for row in SETTINGS]
    assert len(values) == len(set(values))


def test_no_variable_is_both_a_setting_and_a_commands_own() -> None:
    assert not {row.environment for row in SETTINGS} & CLIENT_VARIABLES.keys()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_default_is_what_the_row_allows_and_the_field_is_typed_for(row: Setting) -> None:
    struct = GROUPS[row.group] if row.group else Settings
    expected = typing.get_type_hints(struct)[row.name]
    if row.default is not None and row.kind is not NAMES:
        assert row.kind.accepts(row.default)
    if row.default is not None:
        msgspec.convert(row.default, expected)
    assert row.help.endswith(".")
    assert row.secret == (expected == (Secret | None))


SAMPLES = {
    "tls.server_names": "a, b",
    "listeners.mqtt_port": "1883",
    "listeners.ws_port": "8083",
    "identity.skip_certificate_validity": "true",
    **{f"limits.{field.name}": "100:1,5000:60" for field in msgspec.structs.fields(LimitSettings)},
}


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.key)
def test_every_row_is_read_from_its_variable_with_the_type_of_its_field(row: Setting) -> None:
    text = SAMPLES.get(row.key) or ("/some/where" if row.default is None else str(row.default))
    environ = {row.environment: text}
    if row.key == "tls.server_key":
        environ["THINGPASS_SERVER_CERT"] = "/some/cert"
    settings = loaded(**environ)
    value = getattr(getattr(settings, row.group) if row.group else settings, row.name)
    struct = GROUPS[row.group] if row.group else Settings
    expected = typing.get_type_hints(struct)[row.name]
    if row.secret:
        assert value == Secret(text)
    elif expected in (Path, Path | None):
        assert value == Path(text)
    else:
        msgspec.convert(value, expected, strict=True)


# Sources and their priority


def test_nothing_given_gives_the_defaults() -> None:
    settings = loaded()
    assert settings == Settings(data_dir=Path("/home/someone/.local/share/thingpass"))
    assert settings.listeners.http_port == 8080
    assert settings.listeners.mqtt_port is None
    assert settings.store.synchronous == "full"


def test_file_is_stronger_than_default_variable_than_file_flag_than_variable(tmp_path: Path) -> None:
    toml = "[listeners]\nhttp_port = 1\nmqtts_port = 1111\nmqtt_port = 1112\n"
    settings = loaded(
        toml,
        tmp_path=tmp_path,
        flags={"listeners.http_port": "3", "listeners.mqtts_port": None},
        THINGPASS_HTTP_PORT="2",
        THINGPASS_MQTTS_PORT="2222",
    )
    assert settings.listeners.http_port == 3
    assert settings.listeners.mqtts_port == 2222
    assert settings.listeners.mqtt_port == 1112
    assert settings.listeners.bind == "0.0.0.0"


def test_load_names_the_source_of_each_value(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[log]\nlevel = "debug"\n')
    environ = {**HOME, "THINGPASS_LOG_FORMAT": "json"}
    sources = load(config_file=file, flags={"listeners.bind": "::"}, environ=environ).sources
    assert sources["log.level"] == f"{file}: log.level"
    assert sources["log.format"] == "THINGPASS_LOG_FORMAT"
    assert sources["listeners.bind"] == "--bind"
    assert sources["loop"] == "default"


def test_file_is_named_by_a_variable_unless_a_flag_names_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text('loop = "asyncio"\n')
    second.write_text('[log]\nlevel = "error"\n')
    environ = {**HOME, "THINGPASS_CONFIG": str(first)}
    assert load_settings(config_file=None, flags={}, environ=environ).loop == "asyncio"
    settings = load_settings(config_file=second, flags={}, environ=environ)
    assert (settings.loop, settings.log.level) == ("uvloop", "error")


def test_empty_variable_counts_as_not_set() -> None:
    assert loaded(THINGPASS_HTTP_PORT="", THINGPASS_ADMIN_PASSWORD="").listeners.http_port == 8080


def test_off_in_a_variable_turns_the_files_plain_mqtt_off(tmp_path: Path) -> None:
    settings = loaded("[listeners]\nmqtt_port = 1883\n", tmp_path=tmp_path, THINGPASS_MQTT_PORT="off")
    assert settings.listeners.mqtt_port is None


def test_relative_path_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    settings = loaded('[tls]\nserver_cert = "certs/a.pem"\n', tmp_path=tmp_path)
    assert settings.tls.server_cert == tmp_path / "certs" / "a.pem"


def test_relative_path_elsewhere_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = loaded(THINGPASS_DATA_DIR="data", flags={"tls.server_cert": "a.pem"})
    assert (settings.data_dir, settings.tls.server_cert) == (tmp_path / "data", tmp_path / "a.pem")


def test_typed_flags_are_taken_as_they_are() -> None:
    flags: dict[str, object] = {"listeners.http_port": 0, "data_dir": Path("/x"), "tls.server_names": ["a"]}
    settings = loaded(flags=flags)
    assert (settings.listeners.http_port, settings.data_dir, settings.tls.server_names) == (
        0,
        Path("/x"),
        ("a",),
    )


def test_toml_types_are_read(tmp_path: Path) -> None:
    toml = (
        "[tls]\nminimum_version = 1.3\nhandshake_timeout_s = 5\nserver_names = ['a.example', ' 10.0.0.1 ']\n"
        "[identity]\nskip_certificate_validity = true\n[store]\nsynchronous = 'NORMAL'\n"
    )
    settings = loaded(toml, tmp_path=tmp_path)
    assert settings.tls.minimum_version == "1.3"
    assert settings.tls.handshake_timeout_s == 5.0
    assert isinstance(settings.tls.handshake_timeout_s, float)
    assert settings.tls.server_names == ("a.example", "10.0.0.1")
    assert settings.identity.skip_certificate_validity is True
    assert settings.store.synchronous == "normal"


def test_data_directory_follows_xdg_and_ignores_a_relative_one() -> None:
    assert default_data_dir({"XDG_DATA_HOME": "/xdg"}) == Path("/xdg/thingpass")
    assert default_data_dir({"XDG_DATA_HOME": "xdg", **HOME}) == Path("/home/someone/.local/share/thingpass")


# Bad values: one line that names source, value and what is allowed


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("THINGPASS_HTTP_PORT", "80a", "a whole number, 0 to 65535"),
        ("THINGPASS_HTTP_PORT", "65536", "a whole number, 0 to 65535"),
        ("THINGPASS_HTTP_PORT", "-1", "a whole number, 0 to 65535"),
        ("THINGPASS_HTTP_PORT", "1.5", "a whole number, 0 to 65535"),
        ("THINGPASS_MQTT_PORT", "yes", "or off"),
        ("THINGPASS_TLS_HANDSHAKE_TIMEOUT_S", "0", "a number, 0.1 to 600"),
        ("THINGPASS_TLS_HANDSHAKE_TIMEOUT_S", "nan", "a number, 0.1 to 600"),
        ("THINGPASS_TLS_HANDSHAKE_TIMEOUT_S", "soon", "a number, 0.1 to 600"),
        ("THINGPASS_LOG_LEVEL", "loud", "debug or info or warning or error"),
        ("THINGPASS_SKIP_CERTIFICATE_VALIDITY", "maybe", "true or false"),
        ("THINGPASS_DATA_DIR", " ", "a path"),
        ("THINGPASS_BIND", " ", "a text that is not empty"),
    ],
)
def test_bad_variable_is_named_with_the_value_and_what_is_allowed(
    variable: str, text: str, allowed: str
) -> None:
    sentence = fault(**{variable: text})
    assert sentence.startswith(f'{variable}: "{text}" is not allowed; it must be ')
    assert allowed in sentence


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (
            "[listeners]\nhttp_port = '8080'",
            'listeners.http_port: "8080" is not allowed; it must be a whole number',
        ),
        ("[listeners]\nhttp_port = true", "listeners.http_port: true is not allowed"),
        ("[listeners]\nhttp_port = 8080.0", "listeners.http_port: 8080.0 is not allowed"),
        ("[identity]\nskip_certificate_validity = 1", "identity.skip_certificate_validity: 1 is not allowed"),
        ("[tls]\nserver_names = ['a', 1]", 'tls.server_names: ["a",1] is not allowed; it must be a list'),
        ("[tls]\nserver_names = 'a'", 'tls.server_names: "a" is not allowed'),
        ("loop = 1979-05-27", "loop: "),
        (
            "[listeners]\nhtp_port = 1",
            "there is no setting listeners.htp_port. Did you mean listeners.http_port?",
        ),
        ("http_port = 1", "there is no setting http_port. Did you mean listeners.http_port?"),
        ("[listener]\nhttp_port = 1", "there is no table [listener]. Did you mean listeners?"),
        ("[listeners.deep]\nx = 1", "there is no setting listeners.deep."),
        ("listeners = 3", "listeners: must be a table, written as [listeners]."),
        ("x =", "is not TOML: "),
    ],
)
def test_bad_file_is_named_with_the_key(toml: str, sentence: str, tmp_path: Path) -> None:
    message = fault(toml, tmp_path=tmp_path)
    assert message.startswith(f"{tmp_path / 'thingpass.toml'}: ")
    assert sentence in message


def test_bad_flag_is_named_and_marked_as_wrong_usage() -> None:
    with pytest.raises(SettingInvalid) as raised:
        loaded(flags={"listeners.mqtts_port": "x"})
    assert raised.value.sentence.startswith('--mqtts-port: "x" is not allowed')
    assert raised.value.from_flag


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "missing.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingInvalid, match=f"{path}: cannot be read: {reason}"):
            load_settings(config_file=path, flags={}, environ=HOME)


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"loop = '\xff'")
    with pytest.raises(SettingInvalid, match=r"a\.toml: is not UTF-8 text \(byte 8\)"):
        load_settings(config_file=path, flags={}, environ=HOME)


def test_bad_secret_is_not_shown(tmp_path: Path) -> None:
    assert "12345" not in fault("[api]\nadmin_password = 12345\n", tmp_path=tmp_path)


def test_key_without_certificate_is_refused() -> None:
    assert (
        fault(THINGPASS_SERVER_KEY="/k")
        == "THINGPASS_SERVER_KEY: needs tls.server_cert (--server-cert) beside it."
    )


def test_password_and_password_file_exclude_each_other() -> None:
    sentence = fault(THINGPASS_SERVER_KEY_PASSWORD="a", THINGPASS_SERVER_KEY_PASSWORD_FILE="/f")
    assert sentence == "THINGPASS_SERVER_KEY_PASSWORD_FILE: give the password or the file, not both."


def test_two_listeners_on_one_port_are_refused_and_two_free_ports_are_not() -> None:
    assert fault(flags={"listeners.mqtts_port": "8080"}).startswith("--mqtts-port: port 8080 is already")
    assert fault(flags={"listeners.http_port": "8883"}).startswith("--http-port: port 8883 is already")
    loaded(flags={"listeners.mqtts_port": "0", "listeners.http_port": "0"})


# Variables that nothing reads


def test_unknown_variable_is_told_with_the_likely_name() -> None:
    environ = {
        "THINGPASS_HTP_PORT": "1",
        "THINGPASS_QQ": "1",
        "THINGPASS_URL": "u",
        "THINGPASS_HTTP_PORT": "1",
        "A": "",
    }
    assert unknown_variables(environ) == [
        "THINGPASS_HTP_PORT is set, but no setting has this name. Did you mean THINGPASS_HTTP_PORT?",
        "THINGPASS_QQ is set, but no setting has this name.",
    ]


# Secrets


def test_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("swordfish")
    assert secret.reveal() == "swordfish"
    assert "swordfish" not in f"{secret} {secret!r} {[secret]} {secret:}"
    assert secret == Secret("swordfish")
    assert secret != Secret("other")
    assert len({secret, Secret("swordfish")}) == 1


def test_effective_values_have_every_key_and_no_secret() -> None:
    values = effective_values(loaded(THINGPASS_ADMIN_PASSWORD="swordfish", THINGPASS_SERVER_NAMES="a,b"))
    assert list(values) == [row.key for row in SETTINGS]
    assert values["api.admin_password"] == MASK
    assert values["tls.server_key_password"] is None
    assert values["tls.server_names"] == ["a", "b"]
    assert "swordfish" not in str(loaded(THINGPASS_ADMIN_PASSWORD="swordfish"))
    msgspec.json.encode(values)


# Kinds


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole(0, 10), " 7 ", 7),
        (BOOLEAN, " YES ", True),
        (BOOLEAN, "off", False),
        (one_of("a", "b"), " B", "b"),
        (port(or_off=True), "OFF", None),
        (PATH, "/a b", Path("/a b")),
        (TEXT, " x ", "x"),
        (NAMES, "a, ,b", ("a", "b")),
        (SECRET, " x ", Secret(" x ")),
    ],
)
def test_kind_reads_text(kind: Kind, text: str, value: object) -> None:
    assert kind.read(text, text=True) == value


@pytest.mark.parametrize("kind", [whole(1), BOOLEAN, one_of("a"), port(), PATH, TEXT, NAMES, SECRET])
@pytest.mark.parametrize("raw", [None, object(), {"a": 1}, [object()], b"bytes"])
def test_kind_refuses_what_no_source_gives(kind: Kind, raw: object) -> None:
    with pytest.raises(ValueError):
        kind.read(raw, text=True)
