"""Which header lines a caller may add."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from email_service.kernel import headers
from email_service.kernel.errors import InvalidInputError


@pytest.mark.parametrize(
    "name",
    [
        "X-Order",
        "x-priority",
        "X-Entity-Ref-ID",
        "List-Id",
        "Precedence",
        "References",
        "In-Reply-To",
        "Importance",
        "Feedback-ID",
    ],
)
def test_a_harmless_header_is_allowed(name):
    assert headers.check_header(name, "<value@example.com>") is None


@pytest.mark.parametrize(
    "name",
    [
        *("From", "To", "Cc", "Bcc", "BCC", "Subject", "Date", "Message-ID", "message-id", "Return-Path", "Sender"),
        *("Reply-To", "DKIM-Signature", "Content-Type", "Content-Transfer-Encoding", "MIME-Version", "Received"),
        *("Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post", "Resent-To", "Resent-Bcc", "ARC-Seal"),
        *(
            "X-Email-Service-Client",
            "x-email-service-id",
            "X-",
            "X",
            "-X",
            "X--A",
            "",
            "X Order",
            "X-Order:",
            "X-Ördér",
        ),
        *(
            "X Order",
            "X-Order\r\nBcc",
            "X-Order\n",
            "X-" + "a" * 63,
            "Authentication-Results",
            "Disposition-Notification-To",
        ),
    ],
)
def test_what_the_service_sets_or_what_is_no_name_is_refused(name):
    """T19"""
    with pytest.raises(InvalidInputError) as caught:
        headers.check_header(name, "value")
    (fault,) = caught.value.faults
    assert fault.pointer.startswith("/headers/")
    assert len(fault.pointer) < 200


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: b@c.d", "a\nb", "a\rb", "a\0b", "a\tb", "\x7f", "\x85", "\u2028", "\ud800", "x" * 9999]
)
@pytest.mark.parametrize("name", ["X-Order", "References"])
def test_a_value_that_breaks_its_line_or_is_endless_is_refused(name, value):
    """T19"""
    with pytest.raises(InvalidInputError):
        headers.check_header(name, value)


def test_structured_headers_take_ascii_and_extensions_take_any_script():
    headers.check_header("X-City", "Köln 日本")
    with pytest.raises(InvalidInputError):
        headers.check_header("References", "<kö@example.com>")


def test_names_do_not_differ_by_case_and_are_few():
    headers.check_headers({"X-A": "1", "X-B": "2"})
    with pytest.raises(InvalidInputError):
        headers.check_headers({"X-A": "1", "x-a": "2"})
    with pytest.raises(InvalidInputError):
        headers.check_headers({f"X-{number}": "1" for number in range(31)})


def test_a_pointer_is_escaped():
    """RFC 6901"""
    with pytest.raises(InvalidInputError) as caught:
        headers.check_header("a/b~c", "value")
    assert caught.value.faults[0].pointer == "/headers/a~1b~0c"


@pytest.mark.parametrize("value", ["application/pdf", "text/calendar; method=REQUEST; a=b", 'text/x; a="b c"'])
def test_a_media_type_is_allowed(value):
    assert headers.check_media_type("/content_type", value) is None


@pytest.mark.parametrize(
    "value",
    ["pdf", "a/b/c", "a/b;", "a/b; c", "a/b\r\nX: y", "multipart/x", "Message/x", "ä/b", "", 'a/b; c="d\r\n"'],
)
def test_what_is_no_media_type_or_a_container_is_refused(value):
    """T19"""
    with pytest.raises(InvalidInputError):
        headers.check_media_type("/content_type", value)


@given(st.text(max_size=2000))
def test_no_text_makes_the_rules_fail_in_another_way(text):
    for check in (headers.check_address, headers.check_media_type, headers.check_content_id, headers.check_message_id):
        try:
            check("/x", text)
        except InvalidInputError:
            continue
        assert text.isprintable()
