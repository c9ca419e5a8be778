"""docs/reference/rest-api.md names every route with its role, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from thingpass.api.authorization import RULES, Role
from thingpass.api.error_answers import ANSWERS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "rest-api.md").read_text(
    encoding="utf-8"
)
WORDS = {
    Role.ANYBODY: "anybody",
    Role.USER: "any user",
    Role.TENANT: "tenant",
    Role.CUSTOMER: "customer",
    Role.TENANT_OR_CUSTOMER: "tenant or customer",
}
NOT_IN_THE_TABLE = {("GET", "/docs"), ("GET", "/openapi.json")}  # the page's first lines have them


def test_table_of_routes_is_the_table_of_roles():
    listed = re.findall(r"^\| `([A-Z]+) (/\S+)` \| ([a-z ]+) \|", PAGE, re.MULTILINE)
    rules = {
        (rule.method, rule.path, WORDS[rule.role])
        for rule in RULES
        if (rule.method, rule.path) not in NOT_IN_THE_TABLE
    }
    assert set(listed) == rules
    assert len(listed) == len(rules)


def test_table_of_errors_has_every_status_and_code():
    listed = set(re.findall(r"^\| (\d{3}) \| (\d+) \|", PAGE, re.MULTILINE))
    assert {(str(row.status), str(row.error_code)) for row in ANSWERS} <= listed
