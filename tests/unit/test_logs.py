"""What a log line looks like, and what never stands in one."""

import logging
from uuid import UUID

import pytest
import structlog

from tests.log_capture import captured_logs, parsed

KEY = "esk_0123456789ab_Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"
TOKEN = "Zk3vX1mQ8rT5yB7nL2wC9dF4gH6jK0pSaUeIoYtRqWx"
ADDRESS = "ada.lovelace@example.com"
LOGGERS = [structlog.get_logger("x"), logging.getLogger("library")]


def test_an_event_is_one_line_of_json_with_its_fields():
    with captured_logs() as stream:
        structlog.get_logger("x").info("message.sent", code=250)
    [line] = parsed(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "message.sent", "code": 250, "level": "info", "logger": "x"}


@pytest.mark.parametrize("secret", [KEY, TOKEN], ids=["key", "token"])
@pytest.mark.parametrize(
    "place",
    [
        lambda said: {"event": said},
        lambda said: {"event": "event", "a": said},
        lambda said: {"event": "event", "a": [said]},
        lambda said: {"event": "event", "a": {"b": [(said,)]}},
        lambda said: {"event": "event", "a": {said: 1}},
        lambda said: {"event": "event", said: 1},
        lambda said: {"event": "event", "a": ValueError(said)},
        lambda said: {"event": "event", "a": {"b": {said}}},
        lambda said: {"event": "event", "a": said.encode()},
    ],
    ids=["event", "field", "list", "deep", "name below", "name", "exception", "set", "bytes"],
)
def test_no_secret_is_logged_wherever_it_stands(place, secret):
    """T27"""
    with captured_logs() as stream:
        structlog.get_logger("x").info(**place(f"before {secret} after"))
    assert secret not in stream.getvalue()
    assert "before [hidden] after" in stream.getvalue()


@pytest.mark.parametrize("around", ["{}.", "{}. Next", "a={}.", "{}.json", "x.{}", "header.{}.signature"])
def test_a_token_beside_a_dot_is_hidden(around):
    """T27"""
    with captured_logs() as stream:
        structlog.get_logger("x").info("event", about=around.format(TOKEN))
    assert [line["about"] for line in parsed(stream)] == [around.format("[hidden]")]


def test_an_object_is_masked_as_it_would_be_written():
    """T27"""
    with captured_logs() as stream:
        structlog.get_logger("x").info("event", cause=OSError(ADDRESS), id=UUID(int=7), at=None, count=3)
    [line] = parsed(stream)
    assert (line["cause"], line["at"], line["count"]) == ("OSError('a***@e***.com')", None, 3)
    assert str(UUID(int=7)) in line["id"]


@pytest.mark.parametrize("around", ["{}", "<{}>", "'{}'", "to={},", "a={};b", "({})", "[{}]", "mailto:{}"])
def test_no_full_address_is_logged(around):
    """T27"""
    with captured_logs() as stream:
        structlog.get_logger("x").info("event", about=around.format(ADDRESS))
    assert "lovelace" not in stream.getvalue()
    assert "***@e***.com" in stream.getvalue()


def test_the_logs_of_libraries_are_masked_too():
    """T27"""
    with captured_logs() as stream:
        logging.getLogger("library").warning("key %s for %s", KEY, ADDRESS, extra={"also": KEY})
    [line] = parsed(stream)
    assert line["event"] == "key [hidden] for a***@e***.com"
    assert line["also"] == "[hidden]"


@pytest.mark.parametrize("logger", LOGGERS, ids=["ours", "theirs"])
def test_an_exceptions_text_is_masked(logger):
    """T27"""
    with captured_logs() as stream:
        try:
            int(f"no mail to {ADDRESS} with {KEY}")
        except ValueError:
            logger.exception("event")
    [line] = parsed(stream)
    assert "no mail to a***@e***.com with [hidden]" in line["exception"]
    assert KEY not in stream.getvalue()


def test_line_breaks_in_what_a_caller_sent_stay_in_one_line():
    """T27"""
    with captured_logs() as stream:
        structlog.get_logger("x").info("event", path='/a\r\n{"event": "forged"}\n\u2028')
    assert [line["event"] for line in parsed(stream)] == ["event"]


@pytest.mark.parametrize("path", ["/v1/messages/{}", "https://app.example.com/reset/{}/now", "/reset?token={}&x=1"])
def test_a_token_in_a_path_is_hidden(path):
    """T27"""
    with captured_logs() as stream:
        structlog.get_logger("x").info("event", path=path.format(TOKEN))
    assert [line["path"] for line in parsed(stream)] == [path.format("[hidden]")]


def test_ids_and_paths_stay_readable():
    module = "email_service.a_module_with_a_name_of_more_than_forty_three_characters"
    path = "/v1/messages/01a1fbc4-d68b-733b-a40c-365c467afbcf/a_file_with_a_name_of_more_than_forty_characters.py"
    with captured_logs() as stream:
        structlog.get_logger("x").info(
            "event", path=path, module=module, request_id="01a1fbc4-d68b-733b-a40c-365c467afbcf"
        )
    [line] = parsed(stream)
    assert (line["path"], line["module"]) == (path, module)
    assert line["request_id"] == "01a1fbc4-d68b-733b-a40c-365c467afbcf"


def test_what_a_request_bound_stands_in_each_of_its_lines():
    with captured_logs() as stream, structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("x").info("ours")
        logging.getLogger("library").info("theirs")
    assert [line["request_id"] for line in parsed(stream)] == ["r-1", "r-1"]


def test_less_than_the_level_is_not_logged():
    with captured_logs(level="WARNING") as stream:
        for logger in LOGGERS:
            logger.info("too much")
    assert stream.getvalue() == ""


def test_a_line_for_people_is_masked_too():
    """T27"""
    with captured_logs(is_human=True) as stream:
        structlog.get_logger("x").info("event", to=ADDRESS, key=KEY)
    assert "event" in stream.getvalue()
    assert "lovelace" not in stream.getvalue()
    assert KEY not in stream.getvalue()
