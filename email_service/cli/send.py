"""`email-service send`: put one message into the outbox by hand, to try out a template or a mail server."""

import click
from sqlalchemy import select

from email_service.cli import house
from email_service.cli.variables import parse_variables
from email_service.clients import service as clients
from email_service.clients.models import Client
from email_service.kernel import addresses
from email_service.messages import service
from email_service.messages.service import Intake
from email_service.messages.submission import Mailbox, Submission

OPERATOR = "operator"


@click.command()
@click.argument("template")
@click.argument("address")
@click.option("--var", "pairs", multiple=True, metavar="NAME=VALUE", help="A variable of the template; repeat it.")
@click.option("--locale", help="Such as pt-BR.")
def send(template: str, address: str, pairs: tuple[str, ...], locale: str | None) -> None:
    """Accept one message; a running service delivers it."""
    parts = house.parts(house.build())
    submission = Submission(
        template=template,
        to=Mailbox(email=addresses.parse(address).email, name=""),
        variables=parse_variables(pairs),
        locale=locale,
    )
    with parts.sessions.begin() as session:
        client = session.scalar(select(Client).where(Client.name == OPERATOR))
        if client is None:
            client, _ = clients.create(session, OPERATOR, ["messages:send"])
        message = service.accept(session, parts.get(Intake), client.id, submission)
    print(f"Accepted as {message.id} ({message.status}); a running service sends it.")
