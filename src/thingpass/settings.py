"""Every setting of the server: one row each in `SETTINGS`, one frozen struct per group, one loader.

Rules: a struct's field gives a setting its type and its default, the row gives everything else (variable,
flag, limits, unit, help); a test holds the two together. `config show`, `up --help` and
docs/reference/settings.md are made from the rows. Sources in rising priority: default, TOML file,
`THINGPASS_*` variable, flag. An empty variable counts as not set. Relative paths in the file are relative to
the file; elsewhere to the working directory.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from thingpass.errors import Invalid
from thingpass.setting_kinds import (
    BOOLEAN,
    NAMES,
    PATH,
    RATE_LIMIT,
    SECRET,
    TEXT,
    Kind,
    number,
    one_of,
    port,
    whole,
)
from thingpass.setting_kinds import Secret as Secret

PREFIX = "THINGPASS_"
CONFIG_VARIABLE = "THINGPASS_CONFIG"
CLIENT_VARIABLES = {
    "THINGPASS_URL": "where commands find the running server, http://127.0.0.1:8080 by default",
    "THINGPASS_TOKEN": "access token (JWT) that commands send to the server",
    "THINGPASS_USERNAME": "user name for `thingpass login`",
    "THINGPASS_PASSWORD": "password for `thingpass login`",
    CONFIG_VARIABLE: "the TOML file to read, as `--config` does",
}
"""Variables that are read outside of `Settings`; known, so that they are not warned about."""


class ListenerSettings(msgspec.Struct, frozen=True, kw_only=True):
    bind: str = "0.0.0.0"
    http_port: int = 8080
    https_port: int | None = 8443
    mqtts_port: int = 8883
    wss_port: int | None = 8084
    mqtt_port: int | None = None
    ws_port: int | None = None
    mqtt_bind: str = "127.0.0.1"


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True):
    server_cert: Path | None = None
    server_key: Path | None = None
    server_key_password: Secret | None = None
    server_key_password_file: Path | None = None
    server_key_alias: str | None = None
    server_names: tuple[str, ...] = ()
    minimum_version: Literal["1.0", "1.1", "1.2", "1.3"] = "1.2"
    handshake_threads: int = 0
    handshake_timeout_s: float = 10.0
    max_handshakes: int = 1000


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True):
    maximum_packet_size: int = 65_536
    connect_timeout_s: float = 10.0
    receive_maximum: int = 100
    maximum_keep_alive_s: int = 0
    max_connections: int = 100_000
    maximum_session_expiry_s: int = 86_400
    max_kept_sessions: int = 10_000
    max_gateway_devices: int = 1_000


class RpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    kept_days: int = 30


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    max_connections: int = 20_000
    head_timeout_s: float = 10.0
    keep_alive_s: int = 30
    maximum_body_bytes: int = 1_048_576
    longest_poll_s: float = 300.0


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    synchronous: Literal["full", "normal"] = "full"
    backlog_messages: int = 20_000
    unfolded_messages: int = 200_000


class OtaSettings(msgspec.Struct, frozen=True, kw_only=True):
    maximum_package_bytes: int = 52_428_800
    cache_bytes: int = 16_777_216
    devices_per_s: int = 100


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Rate limits in the notation of `rate_limits`; None is no limit."""

    device_messages: str | None = None
    device_telemetry_messages: str | None = None
    device_data_points: str | None = None
    gateway_messages: str | None = None
    gateway_telemetry_messages: str | None = None
    gateway_data_points: str | None = None
    gateway_device_messages: str | None = None
    gateway_device_telemetry_messages: str | None = None
    gateway_device_data_points: str | None = None
    tenant_messages: str | None = None
    tenant_telemetry_messages: str | None = None
    tenant_data_points: str | None = None


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    skip_certificate_validity: bool = False
    refusals_kept: int = 10_000
    refusals_kept_per_device: int = 50


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    claim_window_s: int = 86_400
    claiming_allowed_by_default: bool = True
    inactivity_timeout_s: float = 600.0
    activity_flush_s: float = 60.0
    events_kept: int = 100
    events_days: int = 30


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    access_token_s: int = 9_000
    refresh_token_s: int = 604_800
    admin_username: str = "admin@thingpass.local"
    admin_password: Secret | None = None


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "json"] = "auto"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings of one server. Each room gets the group it needs, not all of them."""

    data_dir: Path
    listeners: ListenerSettings = ListenerSettings()
    tls: TlsSettings = TlsSettings()
    mqtt: MqttSettings = MqttSettings()
    rpc: RpcSettings = RpcSettings()
    http: HttpSettings = HttpSettings()
    store: StoreSettings = StoreSettings()
    ota: OtaSettings = OtaSettings()
    limits: LimitSettings = LimitSettings()
    identity: IdentitySettings = IdentitySettings()
    devices: DeviceSettings = DeviceSettings()
    api: ApiSettings = ApiSettings()
    log: LogSettings = LogSettings()
    loop: Literal["uvloop", "asyncio"] = "uvloop"


class SettingInvalid(Invalid):
    """A source gave a value that cannot be used. `source` names it: file and key, variable, or flag."""

    code = "setting-invalid"

    def __init__(
        self, source: str, sentence: str, *, mend: str | None = None, from_flag: bool = False
    ) -> None:
        super().__init__(f"{source}: {sentence}", mend=mend)
        self.source = source
        self.from_flag = from_flag


class Setting(msgspec.Struct, frozen=True):
    """One row. `key` is its place in the TOML file, `variable` its name without `THINGPASS_`."""

    key: str
    variable: str
    kind: Kind
    help: str
    unit: str = ""
    flag: str | None = None  # the option of `thingpass up`

    @property
    def group(self) -> str:
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    @property
    def environment(self) -> str:
        return PREFIX + self.variable

    @property
    def secret(self) -> bool:
        return self.kind is SECRET

    @property
    def default(self) -> object:
        """The struct's default; None also for `data_dir`, whose default depends on the environment."""
        struct = GROUPS[self.group] if self.group else Settings
        field = next(field for field in msgspec.structs.fields(struct) if field.name == self.name)
        return None if field.default is msgspec.NODEFAULT else field.default


GROUPS: dict[str, type[msgspec.Struct]] = {
    "listeners": ListenerSettings,
    "tls": TlsSettings,
    "mqtt": MqttSettings,
    "rpc": RpcSettings,
    "http": HttpSettings,
    "store": StoreSettings,
    "ota": OtaSettings,
    "limits": LimitSettings,
    "identity": IdentitySettings,
    "devices": DeviceSettings,
    "api": ApiSettings,
    "log": LogSettings,
}

# fmt: off
SETTINGS: tuple[Setting, ...] = (
    Setting("data_dir", "DATA_DIR", PATH, flag="--data-dir",
            help="Where everything is kept: database, server key, local secret."),
    Setting("loop", "LOOP", one_of("uvloop", "asyncio"),
            help="The event loop; asyncio is slower and always there."),
    Setting("listeners.bind", "BIND", TEXT, flag="--bind",
            help="Address that HTTP and everything over TLS listens on."),
    Setting("listeners.http_port", "HTTP_PORT", port(), flag="--http-port",
            help="Port of the web console, the REST API and the HTTP device API."),
    Setting("listeners.https_port", "HTTPS_PORT", port(or_off=True), flag="--https-port",
            help="Port of the same over TLS, where devices may show a certificate."),
    Setting("listeners.mqtts_port", "MQTTS_PORT", port(), flag="--mqtts-port",
            help="Port of MQTT over TLS."),
    Setting("listeners.wss_port", "WSS_PORT", port(or_off=True), flag="--wss-port",
            help="Port of MQTT over WebSocket with TLS, path /mqtt."),
    Setting("listeners.mqtt_port", "MQTT_PORT", port(or_off=True), flag="--mqtt-port",
            help="Port of plain MQTT; off unless given."),
    Setting("listeners.ws_port", "WS_PORT", port(or_off=True),
            help="Port of MQTT over WebSocket without TLS; off unless given."),
    Setting("listeners.mqtt_bind", "MQTT_BIND", TEXT,
            help="Address of the two without TLS; beyond loopback, passwords cross the network readable."),
    Setting("tls.server_cert", "SERVER_CERT", PATH, flag="--server-cert",
            help="Server certificate: PEM, DER, PKCS#12 or JKS; without it the server makes its own."),
    Setting("tls.server_key", "SERVER_KEY", PATH, flag="--server-key",
            help="The certificate's private key, if it is in a file of its own."),
    Setting("tls.server_key_password", "SERVER_KEY_PASSWORD", SECRET,
            help="Password of the private key or key store."),
    Setting("tls.server_key_password_file", "SERVER_KEY_PASSWORD_FILE", PATH,
            help="File whose first line is that password."),
    Setting("tls.server_key_alias", "SERVER_KEY_ALIAS", TEXT,
            help="Entry of the key store, if it has several."),
    Setting("tls.server_names", "SERVER_NAMES", NAMES,
            help="More names and addresses for the certificate that the server makes itself."),
    Setting("tls.minimum_version", "TLS_MINIMUM_VERSION", one_of("1.0", "1.1", "1.2", "1.3"),
            help="The oldest TLS version that a device may speak; below 1.2 for old boards only."),
    Setting("tls.handshake_threads", "TLS_HANDSHAKE_THREADS", whole(0, 256),
            help="Threads that do handshakes; 0 is one per core."),
    Setting("tls.handshake_timeout_s", "TLS_HANDSHAKE_TIMEOUT_S", number(0.1, 600), unit="s",
            help="How long a handshake may take."),
    Setting("tls.max_handshakes", "TLS_MAX_HANDSHAKES", whole(1),
            help="Handshakes under way at the same time; further connections wait."),
    Setting("mqtt.maximum_packet_size", "MQTT_MAXIMUM_PACKET_SIZE", whole(128, 268_435_460), unit="bytes",
            help="The largest MQTT packet that is read."),
    Setting("mqtt.connect_timeout_s", "MQTT_CONNECT_TIMEOUT_S", number(0.1, 600), unit="s",
            help="How long a device may take to send CONNECT."),
    Setting("mqtt.receive_maximum", "MQTT_RECEIVE_MAXIMUM", whole(1, 65_535), unit="messages",
            help="Messages of one device that may wait for their acknowledgement."),
    Setting("mqtt.maximum_keep_alive_s", "MQTT_MAXIMUM_KEEP_ALIVE_S", whole(0, 65_535), unit="s",
            help="The longest keep-alive that is granted; 0 is no cap."),
    Setting("mqtt.max_connections", "MQTT_MAX_CONNECTIONS", whole(1),
            help="Devices connected at the same time."),
    Setting("mqtt.maximum_session_expiry_s", "MQTT_MAXIMUM_SESSION_EXPIRY_S", whole(0, 4_294_967_294),
            unit="s",
            help="The longest that a session is kept for a device that is away; 0 keeps none."),
    Setting("mqtt.max_kept_sessions", "MQTT_MAX_KEPT_SESSIONS", whole(0), unit="sessions",
            help="Sessions kept for devices that are away; the longest away goes first."),
    Setting("mqtt.max_gateway_devices", "MQTT_MAX_GATEWAY_DEVICES", whole(1, 100_000), unit="devices",
            help="Devices behind one gateway at a time, and new ones that one of its sessions may make."),
    Setting("rpc.kept_days", "RPC_KEPT_DAYS", whole(0, 36_500), unit="days",
            help="How long a persistent call can be read after its time has ended."),
    Setting("http.max_connections", "HTTP_MAX_CONNECTIONS", whole(1),
            help="HTTP connections open at the same time, on each of the two ports."),
    Setting("http.head_timeout_s", "HTTP_HEAD_TIMEOUT_S", number(0.1, 600), unit="s",
            help="How long a request's first line and header fields may take."),
    Setting("http.keep_alive_s", "HTTP_KEEP_ALIVE_S", whole(1, 3_600), unit="s",
            help="How long a connection may be idle between requests."),
    Setting("http.maximum_body_bytes", "HTTP_MAXIMUM_BODY_BYTES", whole(128, 16_777_216), unit="bytes",
            help="The largest body that a device may send."),
    Setting("http.longest_poll_s", "HTTP_LONGEST_POLL_S", number(1, 3_600), unit="s",
            help="The longest that a device may wait for an RPC call or changed attributes in one request."),
    Setting("store.synchronous", "STORE_SYNCHRONOUS", one_of("full", "normal"),
            help="What is acknowledged survives: power loss (full), or a crash of the program (normal)."),
    Setting("store.backlog_messages", "STORE_BACKLOG_MESSAGES", whole(1), unit="messages",
            help="Messages waiting to be stored before sockets stop being read."),
    Setting("store.unfolded_messages", "STORE_UNFOLDED_MESSAGES", whole(1), unit="messages",
            help="Messages in the journal (and in memory) before they are folded into the series."),
    Setting("ota.maximum_package_bytes", "OTA_MAXIMUM_PACKAGE_BYTES", whole(1, 2_147_483_647), unit="bytes",
            help="The largest firmware or software file that can be uploaded."),
    Setting("ota.cache_bytes", "OTA_CACHE_BYTES", whole(1), unit="bytes",
            help="Memory for the pieces of packages that devices are downloading."),
    Setting("ota.devices_per_s", "OTA_DEVICES_PER_S", whole(1, 10_000), unit="devices/s",
            help="How many devices of a profile are told of a new package in a second."),
    *(
        Setting(f"limits.{sender}_{what}", f"LIMIT_{sender}_{what}".upper(), RATE_LIMIT,
                help=f"{words} {of_whom}, as 100:1,5000:60; none unless given.")
        for sender, of_whom in (
            ("device", "from one device"),
            ("gateway", "from all devices behind one gateway"),
            ("gateway_device", "from one gateway for itself"),
            ("tenant", "from all devices of one tenant"),
        )
        for what, words in (
            ("messages", "Messages without data"),
            ("telemetry_messages", "Telemetry and attribute messages"),
            ("data_points", "Data points"),
        )
    ),
    Setting("identity.skip_certificate_validity", "SKIP_CERTIFICATE_VALIDITY", BOOLEAN,
            help="Let devices in whose certificate is not yet or no longer valid."),
    Setting("identity.refusals_kept", "REFUSALS_KEPT", whole(1),
            help="Refused connections that are kept, the newest ones."),
    Setting("identity.refusals_kept_per_device", "REFUSALS_KEPT_PER_DEVICE", whole(1),
            help="Refused connections that are kept of one device."),
    Setting("devices.claim_window_s", "CLAIM_WINDOW_S", whole(1, 31_536_000), unit="s",
            help="How long a device may be claimed that did not say how long."),
    Setting("devices.claiming_allowed_by_default", "CLAIMING_ALLOWED_BY_DEFAULT", BOOLEAN,
            help="Whether devices may be claimed without the server attribute claimingAllowed."),
    Setting("devices.inactivity_timeout_s", "DEVICE_INACTIVITY_TIMEOUT_S", number(1, 31_536_000), unit="s",
            help="A device that is silent for so long is inactive, unless its inactivityTimeout differs."),
    Setting("devices.activity_flush_s", "DEVICE_ACTIVITY_FLUSH_S", number(1, 3_600), unit="s",
            help="How often the time at which a device was last heard is stored."),
    Setting("devices.events_kept", "DEVICE_EVENTS_KEPT", whole(1, 10_000),
            help="Events that are kept of one device, the newest ones."),
    Setting("devices.events_days", "DEVICE_EVENTS_DAYS", whole(1, 36_500), unit="days",
            help="How long an event is kept."),
    Setting("api.access_token_s", "ACCESS_TOKEN_S", whole(60), unit="s",
            help="How long a login's access token is valid."),
    Setting("api.refresh_token_s", "REFRESH_TOKEN_S", whole(60), unit="s",
            help="How long a login can be renewed."),
    Setting("api.admin_username", "ADMIN_USERNAME", TEXT,
            help="Name of the administrator that the first start makes."),
    Setting("api.admin_password", "ADMIN_PASSWORD", SECRET,
            help="Password of that administrator; without it one is generated and printed once."),
    Setting("log.level", "LOG_LEVEL", one_of("debug", "info", "warning", "error"),
            help="The least severity that is logged."),
    Setting("log.format", "LOG_FORMAT", one_of("auto", "text", "json"),
            help="auto: text on a terminal, JSON otherwise."),
)
# fmt: on


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each key where its value came from ("default", "THINGPASS_HTTP_PORT", ...)."""

    settings: Settings
    sources: dict[str, str]


def load_settings(
    *, config_file: Path | None, flags: Mapping[str, object], environ: Mapping[str, str]
) -> Settings:
    """The effective settings. `flags` maps keys (`listeners.http_port`) to text or values; None is not set.

    Raises SettingInvalid with one sentence that names the source, the value seen and what is allowed.
    """
    return load(config_file=config_file, flags=flags, environ=environ).settings


def load(*, config_file: Path | None, flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """As `load_settings`, with the source of each value."""
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE]).expanduser()
    from_file = dict(_read_file(config_file)) if config_file is not None else {}
    values: dict[str, object] = {"data_dir": default_data_dir(environ)}
    sources = {row.key: "default" for row in SETTINGS}
    for row in SETTINGS:
        if row.key in from_file and config_file is not None:
            source = f"{config_file}: {row.key}"
            value = _convert(row, from_file[row.key], source, text=False)
            values[row.key] = config_file.parent / value if isinstance(value, Path) else value
            sources[row.key] = source
        if text := environ.get(row.environment):
            values[row.key] = _convert(row, text, row.environment, text=True)
            sources[row.key] = row.environment
        if (given := flags.get(row.key)) is not None:
            source = row.flag or row.key
            values[row.key] = _convert(row, given, source, text=True, from_flag=True)
            sources[row.key] = source
    settings = _build(values)
    _check_together(settings, sources)
    return Loaded(settings, sources)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/thingpass`, or `~/.local/share/thingpass` (XDG Base Directory Specification)."""
    data_home = environ.get("XDG_DATA_HOME", "")
    if Path(data_home).is_absolute():  # the specification: a relative path is to be ignored
        return Path(data_home) / "thingpass"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".local" / "share" / "thingpass"


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """One sentence for each `THINGPASS_` variable that nothing reads; a spelling mistake, most likely."""
    known = {row.environment for row in SETTINGS} | CLIENT_VARIABLES.keys()
    bare = {name.removeprefix(PREFIX) for name in known}  # the common prefix would make all names alike
    return [
        f"{PREFIX}{name} is set, but no setting has this name.{_did_you_mean(name, bare, PREFIX)}"
        for name in sorted(given.removeprefix(PREFIX) for given in environ if given.startswith(PREFIX))
        if name not in bare
    ]


def effective_values(settings: Settings) -> dict[str, object]:
    """Key to value for every row, secrets masked, in plain JSON types."""
    shown: dict[str, object] = {}
    for row in SETTINGS:
        value = getattr(getattr(settings, row.group) if row.group else settings, row.name)
        if isinstance(value, Secret | Path):
            value = str(value)
        shown[row.key] = list(value) if isinstance(value, tuple) else value
    return shown


def _read_file(path: Path) -> Iterator[tuple[str, object]]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingInvalid(str(path), f"cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise SettingInvalid(str(path), f"is not UTF-8 text (byte {error.start}).") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingInvalid(str(path), f"is not TOML: {error}.") from error
    known = {row.key for row in SETTINGS}
    for name, value in document.items():
        if name in GROUPS and not isinstance(value, dict):
            raise SettingInvalid(f"{path}: {name}", f"must be a table, written as [{name}].")
        entries = (
            {f"{name}.{key}": inner for key, inner in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        if isinstance(value, dict) and name not in GROUPS:
            raise SettingInvalid(str(path), f"there is no table [{name}].{_did_you_mean(name, set(GROUPS))}")
        for key, inner in entries.items():
            if key not in known:
                raise SettingInvalid(str(path), f"there is no setting {key}.{_did_you_mean(key, known)}")
            yield key, inner


def _convert(row: Setting, raw: object, source: str, *, text: bool, from_flag: bool = False) -> object:
    try:
        return row.kind.read(raw, text=text)
    except ValueError:
        seen = "the value (not shown)" if row.secret else msgspec.json.encode(raw, enc_hook=str).decode()
    sentence = f"{seen} is not allowed; it must be {row.kind.allowed}."
    raise SettingInvalid(source, sentence, from_flag=from_flag)


def _build(values: Mapping[str, object]) -> Settings:
    groups: dict[str, dict[str, object]] = {group: {} for group in GROUPS}
    top: dict[str, object] = {}
    for row in SETTINGS:
        if row.key in values:
            value = values[row.key]
            (groups[row.group] if row.group else top)[row.name] = (
                value.absolute() if isinstance(value, Path) else value
            )
    for group, struct in GROUPS.items():
        top[group] = struct(**groups[group])
    # Each value was read by its row's kind, and a test compares kind and field.
    return Settings(**top)  # type: ignore[arg-type]  # see above


def _check_together(settings: Settings, sources: Mapping[str, str]) -> None:
    """Rules that no single row can hold."""
    tls, listeners = settings.tls, settings.listeners
    if tls.server_key is not None and tls.server_cert is None:
        raise SettingInvalid(sources["tls.server_key"], "needs tls.server_cert (--server-cert) beside it.")
    if tls.server_key_password is not None and tls.server_key_password_file is not None:
        raise SettingInvalid(
            sources["tls.server_key_password_file"], "give the password or the file, not both."
        )
    ports: dict[int, str] = {}
    for name in ("http_port", "https_port", "mqtts_port", "wss_port", "mqtt_port", "ws_port"):
        port = getattr(listeners, name)
        if port and (other := ports.setdefault(port, name)) != name:
            key = f"listeners.{name}"
            source = sources[key] if sources[key] != "default" else sources[f"listeners.{other}"]
            raise SettingInvalid(source, f"port {port} is already listeners.{other}; each needs its own.")


def _did_you_mean(name: str, known: set[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    if not close:  # the right name in the wrong group
        close = [key for key in sorted(known) if key.rpartition(".")[2] == name.rpartition(".")[2]]
    return f" Did you mean {prefix}{close[0]}?" if close else ""
