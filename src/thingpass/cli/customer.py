"""`thingpass customer ...`: whom devices are given to, and their users."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from thingpass.cli.failures import Failure
from thingpass.cli.output import json_option, local_time, print_json, print_table

if TYPE_CHECKING:
    from thingpass.cli.shapes import Customer, User

PAGE_SIZE = 100
LIMIT = click.option(
    "--limit", type=click.IntRange(1), default=PAGE_SIZE, show_default=True, help="At most so many."
)


@click.group()
def customer() -> None:
    """Add, list and remove customers; add users who see their customer's devices."""


@customer.command()
@click.argument("title")
@click.option("--email", help="Where the customer is reached.")
@json_option
def add(title: str, email: str | None, as_json: bool) -> None:
    """Add a customer."""
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import Customer

    answer = connect().post("/api/customer", {"title": title} | ({"email": email} if email else {}))
    if as_json:
        print_json(answer.json())
        return
    added = answer.as_(Customer)
    click.echo(f"Customer {added.title} is added (id {added.id.id}).")


@customer.command(name="list")
@click.option("--search", metavar="TEXT", help="Only customers whose title contains TEXT.")
@LIMIT
@json_option
def list_customers(search: str | None, limit: int, as_json: bool) -> None:
    """List customers by title."""
    from thingpass.cli.rest_client import connect
    from thingpass.cli.shapes import CustomerPage

    query = {
        "pageSize": min(limit, 10_000),
        "page": 0,
        "textSearch": search,
        "sortProperty": "title",
        "sortOrder": "ASC",
    }
    answer = connect().get("/api/customers", query)
    page = answer.as_(CustomerPage)
    if as_json:
        document = answer.json()
        print_json(document["data"] if isinstance(document, dict) else [])
        return
    if not page.data:
        click.echo("There are no customers." if search is None else f"No customer's title has {search!r}.")
        return
    print_table(
        ("Title", "E-mail", "Added"),
        [(row.title, row.email or "", local_time(row.created_time)) for row in page.data],
    )
    if page.has_next:
        click.echo(
            f"{page.total_elements - limit} more; --limit {page.total_elements} shows them all.", err=True
        )


@customer.command()
@click.argument("title")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove(title: str, yes: bool, as_json: bool) -> None:
    """Remove a customer and its users. Its devices stay, and are nobody's."""
    from thingpass.cli.rest_client import connect, segment

    client = connect()
    found, document = find_customer(title)
    if not yes:
        if not sys.stdin.isatty():  # the end of input is not a yes
            raise Failure("Removing a customer needs a yes.", "Add --yes.", exit_code=2)
        click.confirm(f"Remove {found.title} and its users?", abort=True, err=True)
    client.delete(f"/api/customer/{segment(found.id.id)}")
    if as_json:
        print_json(document)
    else:
        click.echo(f"Customer {found.title} is removed.")


@customer.command(name="add-user")
@click.argument("title")
@click.argument("email")
@json_option
def add_user(title: str, email: str, as_json: bool) -> None:
    """Add a user of the customer TITLE, and print the link by which it chooses its password.

    The link is good for one day and for one use. Hand it over; no mail is sent.
    """
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import ActivationLink, User

    client = connect()
    found, _ = find_customer(title)
    body = {
        "email": email,
        "authority": "CUSTOMER_USER",
        "customerId": {"entityType": "CUSTOMER", "id": found.id.id},
    }
    answer = client.post("/api/user", body, {"sendActivationMail": False})
    user = answer.as_(User)
    link = client.get(f"/api/user/{segment(user.id.id)}/activationLinkInfo").as_(ActivationLink)
    if as_json:
        print_json({"user": answer.json(), "link": link.value})
        return
    click.echo(f"User {user.email} of {found.title} is added. This link activates it, once, within a day:")
    click.echo(link.value)
    click.echo("Next, for the user: thingpass activate")


@customer.command()
@click.argument("title")
@LIMIT
@json_option
def users(title: str, limit: int, as_json: bool) -> None:
    """List the users of a customer."""
    from thingpass.cli.rest_client import connect, segment
    from thingpass.cli.shapes import UserPage

    client = connect()
    found, _ = find_customer(title)
    answer = client.get(
        f"/api/customer/{segment(found.id.id)}/users", {"pageSize": min(limit, 10_000), "page": 0}
    )
    if as_json:
        document = answer.json()
        print_json(document["data"] if isinstance(document, dict) else [])
        return
    rows: tuple[User, ...] = answer.as_(UserPage).data
    if not rows:
        click.echo(f"{found.title} has no users.")
        return
    print_table(("E-mail", "Added"), [(row.email, local_time(row.created_time)) for row in rows])


def find_customer(title: str) -> tuple[Customer, object]:
    """The customer, and its JSON as the server sent it. Raises Failure when there is none of this title."""
    from thingpass.cli.rest_client import ServerRefused, connect
    from thingpass.cli.shapes import Customer

    try:
        answer = connect().get("/api/tenant/customers", {"customerTitle": title})
    except ServerRefused as refused:
        if refused.status != 404:
            raise
        raise Failure(
            f"There is no customer {title!r}.", "`thingpass customer list` shows the titles."
        ) from refused
    return answer.as_(Customer), answer.json()
