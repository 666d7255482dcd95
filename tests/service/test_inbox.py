"""What the inbox keeps, and what it reads out of a mail."""

from collections.abc import Iterator
from email.message import EmailMessage
from threading import Timer
from time import thread_time
from uuid import UUID

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from email_service.delivery.capture_transport import CaptureTransport
from email_service.delivery.transport import Outcome, Parcel, Phase
from email_service.inbox import service
from email_service.inbox.models import CapturedMail
from email_service.kernel import clock
from email_service.kernel.errors import NotFoundError
from email_service.kernel.orm import Base, new_id, open_engine


@pytest.fixture
def sessions(tmp_path) -> Iterator[sessionmaker[Session]]:
    engine = open_engine(f"sqlite:///{tmp_path / 'inbox.sqlite'}")
    Base.metadata.create_all(engine, tables=[CapturedMail.__table__])
    yield sessionmaker(engine)
    engine.dispose()


@pytest.fixture
def session(sessions) -> Iterator[Session]:
    with sessions() as session:
        yield session


def mail_of(text: str = "", html: str = "") -> CapturedMail:
    return CapturedMail(text=text, html=html)


def bytes_of(subject: str = "Hello", text: str = "Text.", html: str = "<p>Html.</p>") -> bytes:
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message.as_bytes().replace(b"\n", b"\r\n")


def capture(session: Session, to: str = "ada@example.com", *others: str, subject: str = "Hello") -> CapturedMail:
    return service.capture(session, bytes_of(subject), new_id(), [to, *others])


def test_a_captured_mail_has_its_parts_and_its_exact_bytes(session):
    content, message_id = bytes_of("Grüße 🎉", "Line one\nLine two\n", "<p>Grüße</p>"), new_id()
    mail_id = service.capture(session, content, message_id, ["ada@example.com", "bob@example.com"]).id
    session.expire_all()
    mail = service.get(session, mail_id)
    assert (mail.subject, mail.text, mail.html) == ("Grüße 🎉", "Line one\nLine two\n", "<p>Grüße</p>\n")
    assert (mail.source, mail.message_id) == (content, message_id)
    assert mail.recipients == ["ada@example.com", "bob@example.com"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no header at all",
        b"Subject: \xff\xfe\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xff\x00",
        b"Content-Type: text/html; charset=no-such-thing\r\n\r\n<p>\xc3\xa9</p>",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\ncut off",
    ],
)
def test_bytes_that_are_hardly_a_mail_are_captured_all_the_same(session, content):
    """T22, F13: what comes in is hostile, and PostgreSQL stores neither NUL nor lone surrogates."""
    mail = service.capture(session, content, new_id(), ["ada@example.com"])
    for part in (mail.subject, mail.html, mail.text):
        assert "\0" not in part
        part.encode()
    assert mail.source == content


def test_postgresql_takes_a_hostile_mail_and_drops_the_oldest(postgres_url, monkeypatch):
    """T22"""
    monkeypatch.setattr(service, "KEPT", 1)
    engine = open_engine(postgres_url)
    Base.metadata.create_all(engine, tables=[CapturedMail.__table__])
    with sessionmaker(engine).begin() as session:
        for _ in range(2):
            service.capture(session, b"Subject: \xff\r\n\r\n\x00\xff", new_id(), ["Ada@example.com"])
        assert len(service.recent(session, "ada@example.com", 10)) == 1
    engine.dispose()


def test_an_unknown_character_set_does_not_hide_the_html(session):
    content = b"Content-Type: text/html; charset=no-such-thing\r\n\r\n<p>\xc3\xa9</p>"
    assert service.capture(session, content, new_id(), ["ada@example.com"]).html == "<p>é</p>"


def test_the_newest_mail_comes_first_and_the_limit_holds(session):
    for number in range(4):
        capture(session, subject=str(number))
    assert [mail.subject for mail in service.recent(session, None, 3)] == ["3", "2", "1"]
    assert [row.subject for row in service.headlines(session, None, 3)] == ["3", "2", "1"]


def test_mail_is_found_by_any_of_its_recipients_in_any_case(session):
    capture(session, "Ada@example.com", "copy@example.com", subject="first")
    capture(session, "bob@example.com", subject="second")
    assert [mail.subject for mail in service.recent(session, "ADA@EXAMPLE.COM", 10)] == ["first"]
    assert [mail.subject for mail in service.recent(session, "copy@example.com", 10)] == ["first"]
    assert service.recent(session, "da@example.com", 10) == []


def test_a_mail_of_one_recipient_is_found_behind_many_of_others(session):
    capture(session, "ada@example.com")
    for _ in range(30):
        capture(session, "bob@example.com")
    assert len(service.recent(session, "ada@example.com", 5)) == 1


def test_only_the_newest_mails_are_kept(session, monkeypatch):
    monkeypatch.setattr(service, "KEPT", 3)
    ids = [capture(session).id for _ in range(5)]
    assert session.scalar(select(func.count()).select_from(CapturedMail)) == 3
    assert [mail.id for mail in service.recent(session, None, 10)] == ids[:1:-1]


def test_a_mail_that_is_not_there_is_named_as_such(session):
    with pytest.raises(NotFoundError):
        service.get(session, new_id())


def test_links_come_from_the_html_first_then_from_the_text_each_once():
    mail = mail_of(
        html='<a href="https://a.test/?x=1&amp;y=2">a</a> <A HREF=" http://b.test/ ">b</A> <area href="https://c.test">',
        text="See https://a.test/?x=1&y=2, or (https://d.test/token-_), or <https://e.test/(x)>. HTTPS://F.test/!",
    )
    assert service.links_of(mail) == [
        "https://a.test/?x=1&y=2",
        "http://b.test/",
        "https://c.test",
        "https://d.test/token-_",
        "https://e.test/(x)",
        "HTTPS://F.test/",
    ]


@pytest.mark.parametrize(
    "html",
    [
        '<a href="javascript:alert(1)">x</a>',
        '<a href="data:text/html,https://a.test">x</a>',
        '<a href="mailto:ada@example.com">x</a>',
        '<a href="/relative">x</a>',
        "<a href>x</a>",
        '<link href="https://a.test/style.css"><img src="https://a.test/pixel">',
        '<!-- <a href="https://a.test">x</a> -->',
        '<a href="https://a.test/ javascript:alert(1)">x</a>',
    ],
)
def test_what_is_no_web_link_is_not_one(html):
    """T22"""
    assert service.links_of(mail_of(html=html)) == []


def test_html_that_the_parser_gives_up_on_keeps_the_links_before():
    assert service.links_of(mail_of(html='<a href="https://a.test/">a</a><![broken[')) == ["https://a.test/"]


def test_a_hostile_link_costs_little():
    started = thread_time()
    service.links_of(mail_of(text="http://a" + ")" * 500_000))
    assert thread_time() - started < 1


def test_codes_are_six_digits_that_stand_alone_each_once():
    mail = mail_of(text="123456 is your code: 654321. (111222)\n123456\nCode:333444!")
    assert service.codes_of(mail) == ["123456", "654321", "111222", "333444"]


@pytest.mark.parametrize(
    "text",
    [
        "1234567",
        "12345",
        "a123456",
        "123456b",
        "https://a.test/123456",
        "https://a.test/?code=123456&x=123456",
        "123456@example.com",
        "+123456",
        "Order #123456",
        "INV-123456",
        "123456-7",
        "1,123456",
        "0.123456",
        "123456.78",
        "12:123456",
    ],
)
def test_digits_within_something_longer_are_no_code(text):
    assert service.codes_of(mail_of(text=text)) == []


def test_waiting_ends_with_the_first_mail(sessions):
    def arrive() -> None:
        with sessions.begin() as session:
            capture(session, subject="late")

    timer = Timer(0.3, arrive)
    timer.start()
    started = clock.monotonic_seconds()
    mails = service.wait_for(sessions, "ada@example.com", 10, 20)
    timer.join()
    assert [mail.subject for mail in mails] == ["late"]
    assert clock.monotonic_seconds() - started < 10


def test_waiting_in_vain_ends_on_time(sessions):
    started = clock.monotonic_seconds()
    assert service.wait_for(sessions, None, 10, 0.25) == []
    assert 0.25 <= clock.monotonic_seconds() - started < 5


def parcel(**changes) -> Parcel:
    values = {"message_id": str(new_id()), "sender": "shop@example.com", "recipient": "ada@example.com"}
    return Parcel(**{**values, "content": bytes_of("Captured"), **changes})


def test_the_capture_transport_accepts_and_commits(sessions):
    sent = parcel(others=("bob@example.com",))
    report = CaptureTransport(sessions).send(parcel=sent)
    assert (report.outcome, report.phase, report.code) == (Outcome.ACCEPTED, Phase.FINAL, 250)
    assert report.reply == "Captured, not sent."
    with sessions() as session:
        [mail] = service.recent(session, None, 10)
        assert (mail.message_id, mail.recipients) == (UUID(sent.message_id), ["ada@example.com", "bob@example.com"])
        assert mail.source == sent.content


def test_a_database_that_cannot_capture_is_a_report_and_no_exception():
    """F4: nothing was taken, and no message is to blame."""
    engine = create_engine("sqlite://")
    transport = CaptureTransport(sessionmaker(engine))
    report = transport.send(parcel=parcel())
    assert (report.outcome, report.is_transport_fault) == (Outcome.RETRY_LATER, True)
    transport.close()
    engine.dispose()
