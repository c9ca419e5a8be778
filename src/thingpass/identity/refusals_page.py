"""docs/reference/refusals.md, made from the table. A test holds the page true; to write it anew:

python -m thingpass.identity.refusals_page > docs/reference/refusals.md
"""

from __future__ import annotations

import re
import sys

from thingpass.identity.refusals import REFUSALS, Refusal, Stage
from thingpass.identity.tls_alerts import ALERTS

_HEAD = """\
# Refusals

After this page you know what each named reason for refusing a connection means, and what to do about it.

Every refusal is kept with its time, address, subject, fingerprint, sentence and mend: the latest ones of \
the whole server (setting `identity.refusals_kept`) and of each device \
(`identity.refusals_kept_per_device`). Read them with `thingpass connections --refused` or \
`GET /api/v2/refusals`. Codes are published and stay; scripts may match on them.

`MQTT 5` and `MQTT 3` are the codes of the CONNACK. A dash means that no CONNACK can be sent, because the \
connection ends before CONNECT. The refused client itself is told less than you are: the last column, as \
MQTT 5 Reason String.

This page is made from `identity/refusals.py`.
"""


def refusals_page() -> str:
    """The whole page, with its newline at the end."""
    parts = [_HEAD]
    for stage in (Stage.CONNECT, Stage.BEFORE_CONNECT):
        title = "At CONNECT" if stage is Stage.CONNECT else "Before CONNECT"
        parts.append(f"\n## {title}\n\n")
        parts.append(
            "| Code | What was seen | What to do | MQTT 5 | MQTT 3 | HTTP | What the client is told |\n"
        )
        parts.append("|---|---|---|---|---|---|---|\n")
        parts.extend(_row(row) for row in REFUSALS if row.stage is stage)
    parts.append("\n## TLS alerts of clients\n\n")
    parts.append("A client that ends the handshake says why by a number. What it means here:\n\n")
    parts.append("| Alert | Number | What the client says | Refusal |\n|---|---|---|---|\n")
    parts.extend(
        f"| {alert.name} | {alert.number} | {alert.meaning} | `{alert.refusal.code}` |\n" for alert in ALERTS
    )
    return "".join(parts)


def _row(row: Refusal) -> str:
    codes = ("-", "-")
    if row.stage is Stage.CONNECT:
        codes = (f"0x{int(row.mqtt5):02X}", str(row.mqtt3))
    cells = (
        f"`{row.code}`",
        _text(row.sentence),
        _text(row.mend),
        *codes,
        "-" if row.http is None else str(row.http),
        _text(row.for_peer),
    )
    return f"| {' | '.join(cells)} |\n"


def _text(template: str) -> str:
    """A template for readers: values in italics, the brackets of optional parts left out."""
    text = template.replace("[", "").replace("]", "").replace("|", "\\|").replace("<", "&lt;")
    return re.sub(r"\{(\w+)\}", lambda value: f"*{value[1].replace('_', ' ')}*", text)


if __name__ == "__main__":
    sys.stdout.write(refusals_page())
