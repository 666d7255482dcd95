"""`email-service client`: make calling applications known, change their keys, close them."""

import json

import click

from email_service.audit import service as audit
from email_service.audit.service import OPERATOR
from email_service.cli import house
from email_service.clients import service


@click.group()
def client() -> None:
    """Calling applications and their API keys."""


@client.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="What it may do; repeat it. '*' is everything.")
@click.option("--rate-limit", help="Such as 100/second; API_RATE_LIMIT if left out.")
@click.option("--json", "is_json", is_flag=True, help="Print one line of JSON with client_id and api_key.")
def create(name: str, scopes: tuple[str, ...], rate_limit: str | None, is_json: bool) -> None:
    """Create a client and print its API key, this once."""
    with house.transaction() as session:
        made, api_key = service.create(session, name, scopes, rate_limit)
        audit.record(session, OPERATOR, "client.created", name, scopes=made.scopes, rate_limit=rate_limit)
        client_id = str(made.id)
    if is_json:
        print(json.dumps({"client_id": client_id, "api_key": api_key}))
    else:
        print(f"Created the client {name}. Its API key, shown only now:\n\n  {api_key}\n")


@client.command()
@click.argument("name")
@click.option("--json", "is_json", is_flag=True, help="Print one line of JSON with api_key.")
def rotate(name: str, is_json: bool) -> None:
    """Print a new API key; the present keys work for 24 hours longer."""
    with house.transaction() as session:
        api_key = service.rotate(session, name)
        audit.record(session, OPERATOR, "client.key_rotated", name)
    hours = int(service.ROTATION_OVERLAP.total_seconds() // 3600)
    if is_json:
        print(json.dumps({"api_key": api_key}))
    else:
        print(f"The new API key of {name}, shown only now; earlier keys end in {hours} hours:\n\n  {api_key}\n")


@client.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Close all keys of a client at once."""
    with house.transaction() as session:
        service.revoke(session, name)
        audit.record(session, OPERATOR, "client.revoked", name)
    print(f"Revoked {name}: none of its keys opens anything any more.")


@client.command("list")
def list_() -> None:
    """Show the clients, without any secret."""
    with house.transaction() as session:
        clients = list(service.everyone(session))
        for each in clients:
            state = "revoked" if each.revoked_at else "active"
            used = max((key.last_used_at for key in each.keys if key.last_used_at), default=None)
            last = used.isoformat(timespec="minutes") if used else "never"
            told = f"keys: {len(each.keys)}  last used: {last}  limit: {each.rate_limit or 'API_RATE_LIMIT'}"
            print(f"{each.name:30} {state:8} {told}  {' '.join(each.scopes)}")
    if not clients:
        print("There are no clients yet; `email-service client create NAME --scope '*'` makes one.")
