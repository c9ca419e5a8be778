from __future__ import annotations

import json

from tests.unit.cli.conftest import DEVICE, DEVICE_ID, Run, Stub

CUSTOMER_ID = "1d2c3b4a-42b6-435a-983c-b7beff2784f9"
CUSTOMER = {
    "id": {"entityType": "CUSTOMER", "id": CUSTOMER_ID},
    "createdTime": 1609459200000,
    "title": "ACME",
    "email": None,
}
EMAIL = "clerk@acme.example"
USER = {
    "id": {"entityType": "USER", "id": "u-1"},
    "createdTime": 1609459200000,
    "email": EMAIL,
}
LINK = "http://gateway.example.org:8080/api/noauth/activate?activateToken=t0ken"


def page(*rows: dict, more: bool = False) -> dict[str, object]:
    return {"data": list(rows), "totalPages": 1, "totalElements": len(rows) + more, "hasNext": more}


def test_add(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/customer", CUSTOMER)
    result = run("customer", "add", "ACME", "--email", "info@acme.example")
    assert result.exit_code == 0, result.output
    body = {"title": "ACME", "email": "info@acme.example"}
    assert stub.asked("POST", "/api/customer").json() == body
    assert result.stdout == f"Customer ACME is added (id {CUSTOMER_ID}).\n"
    assert json.loads(run("customer", "add", "ACME", "--json").stdout) == CUSTOMER


def test_list(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/customers", page(CUSTOMER, more=True))
    result = run("customer", "list", "--search", "ac", "--limit", "1")
    assert result.stdout.splitlines()[1].startswith("ACME")
    assert result.stderr == "1 more; --limit 2 shows them all.\n"
    assert stub.asked("GET", "/api/customers").query["textSearch"] == "ac"
    assert json.loads(run("customer", "list", "--json").stdout) == [CUSTOMER]


def test_list_of_none(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/customers", page())
    assert run("customer", "list").stdout == "There are no customers.\n"


def test_remove_needs_a_yes(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/customers", CUSTOMER)
    stub.answer("DELETE", f"/api/customer/{CUSTOMER_ID}")
    assert run("customer", "remove", "ACME").exit_code == 2
    assert run("customer", "remove", "ACME", "--yes").stdout == "Customer ACME is removed.\n"


def test_unknown_customer(run: Run) -> None:
    result = run("customer", "users", "none")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == "Error: There is no customer 'none'."


def test_user_is_added_with_its_link(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/customers", CUSTOMER)
    stub.answer("POST", "/api/user", USER)
    stub.answer("GET", "/api/user/u-1/activationLinkInfo", {"value": LINK, "ttlMs": 1})
    result = run("customer", "add-user", "ACME", "clerk@acme.example")
    assert result.exit_code == 0, result.output
    asked = stub.asked("POST", "/api/user")
    assert asked.query == {"sendActivationMail": "false"}
    assert asked.json() == {
        "email": "clerk@acme.example",
        "authority": "CUSTOMER_USER",
        "customerId": {"entityType": "CUSTOMER", "id": CUSTOMER_ID},
    }
    assert LINK in result.stdout.splitlines()
    answer = json.loads(run("customer", "add-user", "ACME", "clerk@acme.example", "--json").stdout)
    assert answer == {"user": USER, "link": LINK}


def test_users(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/customers", CUSTOMER)
    stub.answer("GET", f"/api/customer/{CUSTOMER_ID}/users", page(USER))
    assert run("customer", "users", "ACME").stdout.splitlines()[1].startswith("clerk@acme.example")


def test_device_is_given_and_taken(run: Run, stub: Stub) -> None:
    stub.answer("GET", "/api/tenant/customers", CUSTOMER)
    stub.answer("GET", "/api/tenant/devices", DEVICE)
    stub.answer("POST", f"/api/customer/{CUSTOMER_ID}/device/{DEVICE_ID}", DEVICE)
    stub.answer("DELETE", f"/api/customer/device/{DEVICE_ID}", DEVICE)
    assert run("device", "assign", "Pump 1", "ACME").stdout == "Device Pump 1 belongs to ACME.\n"
    assert run("device", "unassign", "Pump 1").stdout == "Device Pump 1 belongs to no customer.\n"
    assert json.loads(run("device", "assign", "Pump 1", "ACME", "--json").stdout) == DEVICE


def test_link_and_password_come_from_standard_input(run: Run, stub: Stub) -> None:
    stub.answer("POST", "/api/noauth/activate", {"token": "a", "refreshToken": "b"})
    link = f"{stub.url}/api/noauth/activate?activateToken=t0ken"
    result = run("activate", stdin=f"{link}\nmy secret\n")
    assert result.exit_code == 0, result.output
    body = {"activateToken": "t0ken", "password": "my secret"}
    assert stub.asked("POST", "/api/noauth/activate").json() == body
    assert result.stdout == f"Your account is active. Next: thingpass login --url {stub.url}\n"
    assert run("activate", stdin=f"{link}\n").exit_code == 2


def test_what_is_no_link(run: Run) -> None:
    for text in ("t0ken", "http://x/?a=b"):
        result = run("activate", stdin=f"{text}\np\n")
        assert (result.exit_code, result.stderr.splitlines()[0]) == (
            2,
            "Error: This is not an activation link.",
        )
    assert run("activate", stdin="").exit_code == 2
