"""Mail with a way out for its readers, and who is mailed no more: by category, and looked at again at the end."""

import re
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from signatures import signatures_of, verdicts, write_key
from sqlalchemy import select, update

from email_service.audit.service import Actor
from email_service.delivery.dkim import dns_name, dns_record
from email_service.delivery.transport import Outcome, Phase, Report
from email_service.kernel.categories import OPTIONAL
from email_service.kernel.derivation import Deriver
from email_service.kernel.orm import database_now
from email_service.messages import life
from email_service.messages.models import Message
from email_service.settings import DkimKey
from email_service.suppressions import preferences
from email_service.suppressions import service as suppressions
from email_service.suppressions.models import Reason
from tests import news
from tests.applications import CATALOG, PASSWORD_RESET
from tests.news import CHANGED, NEWS
from tests.races import together
from tests.scripted_transport import ACCEPTED, Scripted
from tests.strangers import ADA

EVE = {"email": "eve@example.com", "name": ""}
READER = Actor(name="recipient")
BUSY = Report(outcome=Outcome.RETRY_LATER, phase=Phase.RCPT, code=451, reply="later")


@pytest.fixture
def shop(either, news_templates):
    """A service on each kind of database."""
    with news.opened_with_news(either, news_templates) as found:
        yield found


@pytest.fixture
def client_of(shop, add_client):
    return add_client(shop)


def unsubscribe(house, category: str, email: str = ADA) -> None:
    with house.sessions.begin() as session:
        preferences.unsubscribe(session, email, category, READER)


def parcel_of(house, client_id, **submission) -> bytes:
    """What travels of one message."""
    house.accept(client_id, **submission)
    transport = Scripted([ACCEPTED])
    house.deliver(transport)
    [parcel] = transport.parcels
    return parcel.content


def test_optional_mail_says_how_to_unsubscribe(shop, client_of):
    """T33: RFC 8058 3.1, RFC 2369: each header once, on one line, as it stands on the wire."""
    content = parcel_of(shop, client_of)
    head = content.partition(b"\r\n\r\n")[0] + b"\r\n"
    link = (news.HOST + news.path_of()).encode()
    assert re.findall(rb"(?im)^list-unsubscribe.*\r\n", head) == [
        b"List-Unsubscribe: <" + link + b">\r\n",
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
    ]
    assert b"ada" not in link
    html, text = (news.read(content).get_body([kind]).get_content() for kind in ("html", "plain"))
    assert f'href="{link.decode()}"' in html
    assert f"Unsubscribe: {link.decode()}" in text.splitlines()
    assert news.link_in(parcel_of(shop, client_of, **NEWS)) == news.HOST + news.path_of(category="news")


@pytest.mark.parametrize("submission", [PASSWORD_RESET, CHANGED])
def test_mail_that_nobody_can_do_without_does_not(shop, client_of, submission):
    """T33: and it offers no link in its text either."""
    content = parcel_of(shop, client_of, **submission)
    assert b"unsubscribe" not in content.lower()


def test_mail_with_a_token_never_does(shop, client_of):
    """T33: whatever its template says."""
    content = parcel_of(shop, client_of, token_nonce=shop.parts.get(Deriver).new_nonce())
    assert b"list-unsubscribe" not in content.lower()


def test_mail_with_copies_has_no_link(shop, client_of):
    """T33: a copy is the same bytes, and its reader would speak for another."""
    for copies in ({"cc": (EVE,)}, {"bcc": (EVE,)}):
        assert b"unsubscribe" not in parcel_of(shop, client_of, **copies).lower()


def test_a_retry_carries_the_same_link(shop, client_of):
    """T33"""
    shop.accept(client_of)
    transport = Scripted([BUSY, ACCEPTED])
    shop.deliver(transport)
    shop.execute(update(Message).values(due_at=database_now()))
    shop.deliver(transport)
    assert len({parcel.content for parcel in transport.parcels}) == 1
    assert len(transport.parcels) == 2


def test_both_headers_are_signed(either, news_templates, tmp_path, add_client):
    """T33: RFC 8058 4; once more than they are there, so that nobody adds another."""
    key = DkimKey("acme.example", "s", write_key(tmp_path / "key.pem", rsa.generate_private_key(65537, 2048)))
    variables = {"DKIM_KEYS": f"acme.example:s:{key.path}", "MAIL_DEFAULT_SENDER": "shop@acme.example"}
    with news.opened_with_news(either, news_templates, **variables) as shop:
        signed = parcel_of(shop, add_client(shop))
    [tags] = signatures_of(signed)
    names = tags["h"].split(":")
    assert [names.count(name) for name in ("list-unsubscribe", "list-unsubscribe-post")] == [2, 2]
    assert verdicts(signed, {dns_name(key): dns_record(key)}) == [True, True]


@pytest.mark.parametrize(
    ("variables", "is_offered"),
    [
        ({"MAIL_SERVER": "127.0.0.1", "MAIL_DEFAULT_SENDER": "a@acme.example"}, True),
        (
            {"MAIL_SERVER": "127.0.0.1", "MAIL_DEFAULT_SENDER": "a@acme.example", "PUBLIC_URL": "http://a.example"},
            False,
        ),
        ({"MAIL_SERVER": "127.0.0.1", "MAIL_DEFAULT_SENDER": "a@acme.example", "PUBLIC_URL": ""}, False),
        ({"PUBLIC_URL": ""}, True),
    ],
)
def test_a_link_is_offered_where_readers_can_follow_it(house, news_templates, add_client, variables, is_offered):
    """RFC 8058 3.1: over https; what is captured is read on this machine."""
    with news.opened_with_news(house, news_templates, **variables) as shop:
        content = parcel_of(shop, add_client(shop))
    assert (b"\r\nList-Unsubscribe: <" in content) is is_offered
    assert (b"\r\nList-Unsubscribe-Post: " in content) is (is_offered and "MAIL_SERVER" in variables)


def test_whoever_unsubscribes_from_one_category_gets_all_others(shop, client_of):
    """T33: other mail, other readers and what nobody can do without are as before."""
    unsubscribe(shop, "news")
    ids = {
        "stopped": shop.accept(client_of, **NEWS),
        "other category": shop.accept(client_of),
        "other reader": shop.accept(client_of, **NEWS, to=EVE),
        "token": shop.accept(client_of, **PASSWORD_RESET),
        "security": shop.accept(client_of, **CHANGED),
    }
    shop.deliver(Scripted([ACCEPTED]))
    statuses = {name: shop.message(message_id).status for name, message_id in ids.items()}
    assert statuses == dict.fromkeys(ids, "sent") | {"stopped": "suppressed"}
    assert shop.events(ids["stopped"])[-1].data == {"reason": "unsubscribe"}


def test_whoever_wants_nothing_optional_gets_what_nobody_can_do_without(shop, client_of):
    """T33"""
    unsubscribe(shop, OPTIONAL)
    told = [
        shop.message(shop.accept(client_of, **submission)).status for submission in (NEWS, {}, PASSWORD_RESET, CHANGED)
    ]
    assert told == ["suppressed", "suppressed", "queued", "queued"]


def test_the_last_look_is_when_it_is_sent(shop, client_of):
    """T33: accepted before the reader unsubscribed, and claimed after."""
    stopped, flowing = shop.accept(client_of, **NEWS), shop.accept(client_of)
    unsubscribe(shop, "news", "ADA@example.com")
    transport = Scripted([ACCEPTED])
    shop.deliver(transport)
    assert [shop.message(each).status for each in (stopped, flowing)] == ["suppressed", "sent"]
    assert len(transport.parcels) == 1


def test_a_retry_that_is_asked_for_is_stopped_too(shop, client_of):
    message_id = shop.accept(client_of)
    shop.execute("UPDATE messages SET status = 'failed', due_at = NULL")
    unsubscribe(shop, "onboarding")
    with shop.sessions.begin() as session:
        life.retry(session, client_of, message_id, life.Terms(catalog=CATALOG))
    assert shop.message(message_id).status == "suppressed"


def test_a_copy_goes_to_whoever_wants_the_category(shop, client_of):
    unsubscribe(shop, "news", EVE["email"])
    transport = Scripted([ACCEPTED])
    for submission in (NEWS, {}):
        shop.accept(client_of, **submission, cc=(EVE,))
    shop.deliver(transport)
    assert sorted(parcel.others for parcel in transport.parcels) == [(), (EVE["email"],)]


def test_what_is_said_of_the_whole_address_stops_everything(shop, client_of):
    unsubscribe(shop, "news")
    with shop.sessions.begin() as session:
        suppressions.suppress(session, ADA, Reason.HARD_BOUNCE)
    for submission in (NEWS, {}, PASSWORD_RESET):
        message_id = shop.accept(client_of, **submission)
        assert shop.events(message_id)[-1].data == {"reason": "hard_bounce"}


def test_accepting_and_unsubscribing_at_once_mails_nobody(on_postgres, news_templates, add_client):
    """T33: whichever commits first, the look at the claim finds it."""
    with news.opened_with_news(on_postgres, news_templates) as shop:
        client_of, transport = add_client(shop), Scripted([ACCEPTED])
        for number in range(20):
            to = {"email": f"a{number}@example.com", "name": ""}
            together(
                [
                    partial(shop.accept, client_of, **NEWS, to=to),
                    partial(unsubscribe, shop, "news", to["email"]),
                ]
            )
        shop.deliver(transport)
        statuses = shop.execute(select(Message.status).distinct())
    assert (transport.parcels, statuses) == ([], [("suppressed",)])
