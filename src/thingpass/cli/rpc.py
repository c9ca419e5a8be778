"""`thingpass rpc`: call a device and show its answer."""

from __future__ import annotations

import json
import time

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, print_json

SHORTEST_TIMEOUT_S = 5.0
PATIENCE_S = 5.0  # that the server may take beyond the timeout


@click.command()
@click.argument("name")
@click.argument("method")
@click.argument("params", required=False)
@click.option("--oneway", is_flag=True, help="Do not wait for an answer, only until the device has it.")
@click.option("--persistent", is_flag=True, help="Leave the call with the server, which keeps it safe.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the device may take; at least 5 unless --persistent.",
)
@json_option
def rpc(
    name: str,
    method: str,
    params: str | None,
    oneway: bool,
    persistent: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Call METHOD of the device NAME with PARAMS, which are JSON (or else a text), and show its answer."""
    from thingpass.cli.devices_by_name import find_device
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, _ = find_device(client, name)
    body: dict[str, object] = {"method": method, "params": _json_or_text(params)}
    if persistent:
        body |= {"persistent": True, "expirationTime": int((time.time() + timeout) * 1000)}
        patience_s = PATIENCE_S
    else:
        body["timeout"] = int(timeout * 1000)
        patience_s = max(timeout, SHORTEST_TIMEOUT_S) + PATIENCE_S
    kind = "oneway" if oneway else "twoway"
    answer = client.post(f"/api/rpc/{kind}/{segment(found.id.id)}", body, timeout_s=patience_s)
    document = answer.json()
    if as_json:
        print_json(document)
    elif persistent and isinstance(document, dict):
        click.echo(f"The call is kept for {timeout:g} s (id {document.get('rpcId')}).")
    elif oneway:
        click.echo(f"Device {found.name} has the call.")
    else:
        click.echo(json.dumps(document, ensure_ascii=False))


def _json_or_text(params: str | None) -> object:
    if params is None:
        return None
    try:
        return json.loads(params)
    except ValueError as error:
        if params.lstrip()[:1] in ("{", "[", '"'):  # it was meant to be JSON
            raise Failure(
                f"PARAMS is not JSON: {error}.", "Quote it for the shell: '{\"pin\": 7}'.", exit_code=2
            ) from error
        return params
