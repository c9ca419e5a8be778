"""How a device connects: ThingsBoard's `/api/device-connectivity/...` (rest-api reference 3.10)."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, TypeAlias
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from thingpass.api.authentication import is_loopback
from thingpass.api.authorization import GuardedRoute
from thingpass.api.device_api.application import ME, PREFIX
from thingpass.api.parameters import CallerOf, DeviceId, ServicesOf
from thingpass.errors import NotFound
from thingpass.store.rows import (
    CREDENTIALS_ACCESS_TOKEN,
    CREDENTIALS_MQTT_BASIC,
    CREDENTIALS_X509,
    Credentials,
)

router = APIRouter(route_class=GuardedRoute, tags=["Connectivity"])

TRUST_FILE = "ca-root.pem"
CLIENT_FILE = "mqttclient.nopass.pem"  # the walk-through's name: key, then certificate
PAYLOAD = '{"temperature":25}'  # ThingsBoard prints {temperature:25}, which is no JSON

TLS_PROTOCOLS = ("mqtts", "https", "wss")
"""They show one certificate. ThingsBoard knows the first alone."""

Commands: TypeAlias = dict[str, dict[str, str | list[str]]]


@router.get(
    "/api/device-connectivity/{protocol}/certificate/download",
    summary="What a client must trust to accept this server",
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def download_certificate(
    protocol: Annotated[str, Path(examples=["mqtts"])], services: ServicesOf
) -> Response:
    """PEM, without a login, as in ThingsBoard."""
    pem = services.trust_pem() if protocol in TLS_PROTOCOLS else None
    if pem is None:
        raise NotFound(f"{protocol[:20]} pem cert file is not found!")
    return Response(
        pem,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f"attachment;filename={TRUST_FILE}", "x-filename": TRUST_FILE},
    )


@router.get("/api/device-connectivity/{deviceId}", summary="Commands that send a first value as the device")
async def get_commands(
    device_id: DeviceId, caller: CallerOf, services: ServicesOf, request: Request
) -> Commands:
    """For the listeners that are open, ready to paste into a shell."""
    device = await services.devices.get(caller.tenant_id, device_id)
    credentials = await services.devices.credentials(caller.tenant_id, device.id)
    reached_by = _host(request)
    listeners = {
        address.name: (address.host if is_loopback(address.host) else reached_by, address.port)
        for address in services.addresses()
    }
    netloc = f"{request.url.scheme}://{_netloc(request)}"
    fetch = shlex.join(
        ["curl", "-f", "-S", "-o", TRUST_FILE, f"{netloc}/api/device-connectivity/mqtts/certificate/download"]
    )
    commands: dict[str, str | list[str]] = {}
    if "mqtt" in listeners and credentials.kind != CREDENTIALS_X509:
        commands["mqtt"] = _publish(*listeners["mqtt"], credentials, tls=False)
    if "mqtts" in listeners:
        commands["mqtts"] = [fetch, _publish(*listeners["mqtts"], credentials, tls=True)]
    over_http: dict[str, str | list[str]] = {}
    if "http" in listeners and credentials.kind == CREDENTIALS_ACCESS_TOKEN:
        over_http["http"] = _post("http", *listeners["http"], credentials)
    if "https" in listeners and credentials.kind != CREDENTIALS_MQTT_BASIC:
        over_http["https"] = [fetch, _post("https", *listeners["https"], credentials)]
    found = {"http": over_http, "mqtt": commands}
    return {protocol: each for protocol, each in found.items() if each}


def _publish(host: str, port: int, credentials: Credentials, *, tls: bool) -> str:
    words = ["mosquitto_pub", "-d", "-q", "1", "-h", host, "-p", str(port), "-t", "v1/devices/me/telemetry"]
    if tls:
        words += ["--cafile", TRUST_FILE]
    words += _proof(credentials)
    return shlex.join([*words, "-m", PAYLOAD])


def _post(scheme: str, host: str, port: int, credentials: Credentials) -> str:
    words = ["curl", "-v", "-X", "POST"]
    if scheme == "https":
        words += ["--cacert", TRUST_FILE]
    who = ME
    if credentials.kind == CREDENTIALS_ACCESS_TOKEN:
        who = quote(credentials.credentials_id, safe="")
    else:
        words += ["--cert", CLIENT_FILE]
    address = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{address}:{port}{PREFIX}{who}/telemetry"
    return shlex.join([*words, url, "--header", "Content-Type:application/json", "--data", PAYLOAD])


class _Basic(msgspec.Struct, rename="camel"):
    client_id: str | None = None
    user_name: str | None = None


def _proof(credentials: Credentials) -> list[str]:
    if credentials.kind == CREDENTIALS_X509:
        return ["--cert", CLIENT_FILE, "--key", CLIENT_FILE]
    if credentials.kind == CREDENTIALS_ACCESS_TOKEN:
        return ["-u", credentials.credentials_id]
    try:
        basic = msgspec.json.decode(credentials.credentials_value or "{}", type=_Basic)
    except msgspec.DecodeError:
        return []
    words = ["-i", basic.client_id] if basic.client_id else []
    return [*words, "-u", basic.user_name, "-P", "PASSWORD"] if basic.user_name else words


def _netloc(request: Request) -> str:
    """The address by which the caller reached us; nothing that a shell or a URL would read otherwise."""
    given = request.headers.get("host", "")
    return (
        given
        if re.fullmatch(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", given)
        else "localhost"
    )


def _host(request: Request) -> str:
    netloc = _netloc(request)
    return netloc[1 : netloc.index("]")] if netloc.startswith("[") else netloc.partition(":")[0]
