"""What `profile add` and `profile set` change: an option each, and its place in ThingsBoard's object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from thingpass.cli.failures import Failure

Command = TypeVar("Command", bound=Callable[..., object])

Document = dict[str, Any]
"""A JSON object of the server's, of which most is none of our business."""

TOPICS = {
    "telemetry_topic": "deviceTelemetryTopic",
    "attributes_topic": "deviceAttributesTopic",
    "attributes_subscribe_topic": "deviceAttributesSubscribeTopic",
}
SCHEMAS = {
    "telemetry_schema": "deviceTelemetryProtoSchema",
    "attributes_schema": "deviceAttributesProtoSchema",
    "rpc_request_schema": "deviceRpcRequestProtoSchema",
    "rpc_response_schema": "deviceRpcResponseProtoSchema",
}
PAYLOAD_FLAGS = {
    "also_json": "enableCompatibilityWithJsonPayloadFormat",
    "json_on_v1": "useJsonPayloadFormatForDefaultDownlinkTopics",
}
PROVISIONING = {
    "off": "DISABLED",
    "create": "ALLOW_CREATE_NEW_DEVICES",
    "check": "CHECK_PRE_PROVISIONED_DEVICES",
}


class Option(NamedTuple):
    """An option that takes a value; its parameter is the flag's name with underscores."""

    flag: str
    kind: click.Path | click.Choice[str] | None
    help: str
    metavar: str | None = None


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    Option("--description", None, "A text for people."),
    Option("--telemetry-topic", None, "Where its devices publish telemetry; may have + and #.", "FILTER"),
    Option("--attributes-topic", None, "Where they publish attributes; may have + and #.", "FILTER"),
    Option("--attributes-subscribe-topic", None, "What they subscribe to for attributes.", "FILTER"),
    Option("--payload", click.Choice(["json", "protobuf"]), "The format of payloads."),
    Option("--telemetry-schema", _FILE, "proto3 schema of telemetry; its last message counts.", "FILE"),
    Option("--attributes-schema", _FILE, "proto3 schema of attributes.", "FILE"),
    Option("--rpc-request-schema", _FILE, "proto3 schema of RPC to the device.", "FILE"),
    Option("--rpc-response-schema", _FILE, "proto3 schema of the device's replies.", "FILE"),
    Option("--provisioning", click.Choice(list(PROVISIONING)), "Whether devices may provision themselves."),
    Option("--provision-key", None, "What they name the profile by. [default: made up]", "KEY"),
    Option("--provision-secret-file", _FILE, "Their common secret. [default: made up]", "FILE"),
)
_SWITCHES = (
    ("--also-json/--not-also-json", "Read payloads that are no protobuf as JSON."),
    ("--json-on-v1/--no-json-on-v1", "Send JSON on v1 topics to devices that speak protobuf."),
    (
        "--acknowledge-bad-payloads/--close-on-bad-payloads",
        "What MQTT 3 devices get for a payload that cannot be used.",
    ),
)


def change_options(command: Command) -> Command:
    """The options of `add` and `set`; what is not given is None."""
    for flags, text in reversed(_SWITCHES):
        command = click.option(flags, default=None, help=text)(command)
    for option in reversed(_OPTIONS):
        command = click.option(option.flag, type=option.kind, metavar=option.metavar, help=option.help)(
            command
        )
    return command


def apply_changes(document: Mapping[str, object], given: Mapping[str, object]) -> Document:
    """The profile as the server sent it (or a new one), with what was given put in. Raises Failure."""
    changed: Document = dict(document)
    data = changed["profileData"] = dict(changed.get("profileData") or {})
    wanted = {name: value for name, value in given.items() if value is not None}
    if "description" in wanted:
        changed["description"] = wanted["description"]
    transport = dict(data.get("transportConfiguration") or {})
    payload = dict(transport.get("transportPayloadTypeConfiguration") or {})
    if "payload" in wanted:
        payload = {} if wanted["payload"] == "json" else payload
        payload["transportPayloadType"] = str(wanted["payload"]).upper()
    for name, member in SCHEMAS.items():
        if name in wanted:
            payload[member] = _read(wanted[name])
            payload["transportPayloadType"] = "PROTOBUF"
    for name, member in PAYLOAD_FLAGS.items():
        if name in wanted:
            payload[member] = wanted[name]
    for name, member in TOPICS.items():
        if name in wanted:
            transport[member] = wanted[name]
    if "acknowledge_bad_payloads" in wanted:
        transport["sendAckOnValidationException"] = wanted["acknowledge_bad_payloads"]
    if payload:
        transport["transportPayloadTypeConfiguration"] = payload
    if set(transport) - {"type"}:
        changed["transportType"] = transport["type"] = "MQTT"
        data["transportConfiguration"] = transport
    _apply_provisioning(changed, data, wanted)
    return changed


def _apply_provisioning(changed: Document, data: Document, wanted: dict[str, object]) -> None:
    provision = dict(data.get("provisionConfiguration") or {})
    if "provisioning" in wanted:
        changed["provisionType"] = provision["type"] = PROVISIONING[str(wanted["provisioning"])]
    if "provision_key" in wanted:
        changed["provisionDeviceKey"] = wanted["provision_key"]
    if "provision_secret_file" in wanted:
        provision["provisionDeviceSecret"] = _read(wanted["provision_secret_file"]).strip()
    if provision:
        data["provisionConfiguration"] = provision


def _read(path: object) -> str:
    assert isinstance(path, Path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is not UTF-8 text.", "Give a text file.", exit_code=2) from error
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}.", exit_code=2) from error
