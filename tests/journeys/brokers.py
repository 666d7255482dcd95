"""A Redis or RabbitMQ for one test, in a room of its own: a Redis database number, a RabbitMQ virtual host."""

import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import redis
from kombu import Connection

from email_service.kernel.lanes import LANES

RABBITMQ = "127.0.0.1:5672"


@dataclass(frozen=True)
class Broker:
    url: str
    forget: Callable[[], None]  # throw away every wake-up that waits
    hang_up: Callable[[], None]  # close everybody's connection


@contextmanager
def redis_broker(url: str) -> Iterator[Broker]:
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        try:
            yield Broker(url, client.flushdb, lambda: _hang_up(client))
        finally:
            client.flushdb()


def _hang_up(client: redis.Redis) -> None:
    # Only those of this database number: the server may be others' too.
    number = str(client.connection_pool.connection_kwargs.get("db", 0))
    for each in client.client_list():
        if each["db"] == number and int(each["id"]) != client.client_id():
            client.client_kill_filter(_id=each["id"])


def is_rabbitmq_here() -> bool:
    host, port = RABBITMQ.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 20):
        return True
    return False


@contextmanager
def rabbitmq_broker() -> Iterator[Broker]:
    """A virtual host of its own, if this user may make one; else the default one, if nobody has our queues there."""
    name = f"email-service-test-{secrets.token_hex(4)}"
    if _control("add_vhost", name):
        try:
            assert _control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
            yield _rabbitmq(name)
        finally:
            _control("delete_vhost", name)
        return
    assert not _declared(""), "Another service uses this RabbitMQ: let the tests run rabbitmqctl."
    try:
        yield _rabbitmq("")
    finally:
        _each_queue("", "queue_delete")


def _control(*arguments: str) -> bool:
    program = shutil.which("rabbitmqctl")
    return (
        bool(program) and subprocess.run([program, "-q", *arguments], capture_output=True, check=False).returncode == 0
    )


def _rabbitmq(virtual_host: str) -> Broker:
    def hang_up() -> None:
        if virtual_host:
            assert _control("close_all_connections", "--vhost", virtual_host, "a test")

    return Broker(_url(virtual_host), lambda: _each_queue(virtual_host, "queue_purge"), hang_up)


def _url(virtual_host: str) -> str:
    return f"amqp://guest:guest@{RABBITMQ}/{virtual_host}"


def _declared(virtual_host: str) -> list[str]:
    return [lane for lane in LANES if _on_queue(virtual_host, "queue_declare", lane, passive=True)]


def _each_queue(virtual_host: str, action: str) -> None:
    for lane in LANES:
        _on_queue(virtual_host, action, lane)


def _on_queue(virtual_host: str, action: str, lane: str, **options: bool) -> bool:
    """Whether there was such a queue."""
    with Connection(_url(virtual_host), connect_timeout=20) as connection, suppress(connection.channel_errors):
        getattr(connection.default_channel, action)(lane, **options)
        return True
    return False
