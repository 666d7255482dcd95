"""What other systems' queues and brokers got wrong, tried against ours, on PostgreSQL and Redis.

Which advisories there are, and which concern nothing here, is said in `advisories.py`.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from kombu import serialization
from kombu.exceptions import ContentDisallowed

from email_service import settings
from email_service.celery_app import create_celery, wake_by
from email_service.settings import Settings
from tests.applications import SECRET_KEY, Api, opened
from tests.log_capture import captured_logs
from tests.races import together
from tests.scripted_transport import ACCEPTED, Scripted


@contextmanager
def waking(api: Api, broker_url: str) -> Iterator[Api]:
    """The same client of a web process that wakes workers through this broker."""
    url = str(api.house.app.config["SQLALCHEMY_DATABASE_URI"])
    with opened(url, CELERY_BROKER_URL=broker_url) as house:
        house.parts.wake = wake_by(create_celery(house.parts.get(Settings))).wake
        yield Api(house, api.key)


def test_two_who_deliver_at_once_take_no_message_twice(api):
    """kratos #652, kratos #732: two couriers dequeued the same row; F8."""
    for number in range(20):
        assert api.send(to=f"ada{number}@example.com").status_code == 202
    leases = together([lambda: api.house.claim(20)] * 4)
    taken = [lease.message_id for each in leases for lease in each]
    assert len(taken) == len(set(taken)) == 20


def test_what_a_dead_worker_held_is_sent_by_the_next_with_the_same_name(api):
    """kratos #3175 (sent, and not written down), postal #1085 and postal #1028 (held for good, then destroyed); F1."""
    accepted = api.send().json
    assert len(api.house.claim()) == 1
    assert api.house.claim() == []
    api.house.execute("UPDATE messages SET due_at = now() - interval '1 second'")
    transport = Scripted([ACCEPTED])
    assert api.house.deliver(transport) == 1
    assert api.house.deliver(transport) == 0
    [parcel] = transport.parcels
    assert accepted["message_id_header"].encode() in parcel.content
    assert api.house.message(accepted["id"]).status == "sent"


@pytest.mark.parametrize(
    "repeats",
    [
        pytest.param(2, id="celery #5306"),
        pytest.param(3, id="celery #3270"),
        pytest.param(4, id="celery #2599"),
        pytest.param(2, id="celery #5935"),
        pytest.param(3, id="kombu #337"),
        pytest.param(4, id="pretix #2058"),
    ],
)
def test_a_wake_up_that_the_broker_hands_out_again_sends_nothing_again(api, repeats):
    """F7: a visibility time-out gave the same task to several workers; here a task only says that something is due."""
    accepted = [api.send(to=f"ada{number}@example.com").json for number in range(5)]
    transports = [Scripted([ACCEPTED]) for _ in range(repeats)]
    together([lambda it=each: api.house.deliver(it) for each in transports])
    assert api.house.deliver(Scripted([ACCEPTED])) == 0
    contents = b"".join(parcel.content for each in transports for parcel in each.parcels)
    counts = [contents.count(message["message_id_header"].encode()) for message in accepted]
    assert counts == [1] * 5


def test_the_broker_can_hand_us_nothing_but_json():
    """CVE-2021-23727: Celery believed what its result backend held."""
    celery = create_celery(settings.load({"CELERY_BROKER_URL": "redis://x", "SECRET_KEY": SECRET_KEY}, None))
    assert (celery.conf.accept_content, celery.conf.task_serializer) == (["json"], "json")
    assert (celery.conf.result_backend, celery.conf.task_ignore_result) == (None, True)
    for content_type in ("application/x-python-serialize", "application/x-yaml"):
        with pytest.raises(ContentDisallowed):
            serialization.loads(b"cos\nsystem\n.", content_type, "binary", accept=celery.conf.accept_content)


@pytest.mark.parametrize(
    ("scheme", "is_silent"),
    [
        pytest.param("amqp", False, id="celery #4296"),
        pytest.param("redis", False, id="celery #4556"),
        pytest.param("redis", True, id="celery #6911"),
        pytest.param("amqp", True, id="celery #4383"),
    ],
)
def test_a_broker_that_does_not_answer_holds_up_no_caller(api, scheme, is_silent):
    """F5: publishing waited for the broker without an end; here it happens after the commit, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if not is_silent:
            listener.close()
        with captured_logs(), waking(api, f"{scheme}://127.0.0.1:{port}") as caller:
            spans = []
            for number in range(5):
                begun_at = time.perf_counter()
                assert caller.send(to=f"ada{number}@example.com").status_code == 202
                spans.append(time.perf_counter() - begun_at)
    assert sorted(spans)[-2] < 0.9
    assert api.house.execute("SELECT count(*) FROM messages WHERE status = 'queued'") == [(5,)]


def test_a_wake_up_names_a_lane_and_no_time_and_no_message(api, redis_url):
    """celery #5306, celery #3270: a task with an ETA beyond the visibility time-out ran again and again; F7."""
    with redis.Redis.from_url(redis_url) as broker, waking(api, redis_url) as caller:
        accepted = caller.send().json
        ends_at = time.monotonic() + 20
        while not (waiting := broker.lrange("transactional", 0, -1)) and time.monotonic() < ends_at:
            time.sleep(0.05)
        [wake_up] = waiting
    headers = json.loads(wake_up)["headers"]
    assert (headers["eta"], headers["argsrepr"]) == (None, "['transactional']")
    assert accepted["id"].encode() not in wake_up
