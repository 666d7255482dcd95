"""How much a caller may: per client, per network for strangers, and what a proxy may say about the address."""

import pytest

from email_service.web.limits import network_key
from tests.applications import Api


def statuses(api: Api, count: int, path: str = "/v1/templates") -> list[int]:
    return [api.get(path).status_code for _ in range(count)]


def strangers(house, *addresses: str, forwarded: str | None = None) -> list[int]:
    """The answers to calls without a key from these addresses, one after the other."""
    headers = {"Authorization": "", **({"X-Forwarded-For": forwarded} if forwarded else {})}
    calls = (Api(house, "", environ={"REMOTE_ADDR": address}) for address in addresses)
    return [call.get("/v1/templates", headers=headers).status_code for call in calls]


def test_a_client_over_its_quota_is_429_with_a_time(house, reopen):
    limited = reopen(API_RATE_LIMIT="3/minute")
    api = Api(limited, limited.add_client())
    assert statuses(api, 3) == [200] * 3
    response = api.get("/v1/messages")
    assert (response.status_code, response.content_type) == (429, "application/problem+json")
    assert response.json["code"] == "rate_limited"
    assert 50 <= int(response.headers["Retry-After"]) <= 61


def test_a_refused_call_is_not_carried_out(house, reopen):
    limited = reopen(API_RATE_LIMIT="2/minute")
    api = Api(limited, limited.add_client())
    assert [api.send().status_code for _ in range(4)] == [202, 202, 429, 429]
    assert limited.execute("SELECT count(*) FROM messages") == [(2,)]


def test_one_client_uses_up_nobody_elses_quota(house, reopen):
    limited = reopen(API_RATE_LIMIT="2/minute")
    busy, calm = (Api(limited, limited.add_client(name)) for name in ("busy", "calm"))
    assert statuses(busy, 3) == [200, 200, 429]
    assert statuses(calm, 2) == [200, 200]


def test_a_client_may_have_a_quota_of_its_own(house, reopen):
    limited = reopen(API_RATE_LIMIT="1/minute")
    api = Api(limited, limited.add_client("big", rate_limit="4/minute"))
    assert statuses(api, 5) == [200] * 4 + [429]


def test_several_windows_hold_at_once(house, reopen):
    limited = reopen(API_RATE_LIMIT="100/minute;2/hour")
    response = [Api(limited, key).get("/v1/templates") for key in [limited.add_client()] * 3][-1]
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 3000


def test_a_callers_good_calls_do_not_count_against_strangers(house, reopen):
    limited = reopen(PUBLIC_RATE_LIMIT="1/minute")
    assert statuses(Api(limited, limited.add_client()), 3) == [200] * 3


def test_guessing_keys_is_limited_by_network(house, reopen):
    """T24"""
    limited = reopen(PUBLIC_RATE_LIMIT="2/minute")
    assert strangers(limited, *["192.0.2.1"] * 3) == [401, 401, 429]
    assert strangers(limited, "192.0.2.2") == [401]


def test_a_network_over_its_quota_of_guesses_does_not_lock_out_a_good_key(house, reopen):
    limited = reopen(PUBLIC_RATE_LIMIT="1/minute")
    assert strangers(limited, *["127.0.0.1"] * 2) == [401, 429]
    assert statuses(Api(limited, limited.add_client()), 1) == [200]


def test_a_hundred_addresses_of_one_household_are_one(house, reopen):
    """T16"""
    limited = reopen(PUBLIC_RATE_LIMIT="3/minute")
    assert strangers(limited, *[f"2001:db8:1:2::{number:x}" for number in range(1, 7)]) == [401] * 3 + [429] * 3
    assert strangers(limited, "2001:db8:1:3::1") == [401]


def test_an_address_is_the_same_written_as_ipv4_or_mapped(house, reopen):
    """T16"""
    limited = reopen(PUBLIC_RATE_LIMIT="2/minute")
    assert strangers(limited, "192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201") == [401, 401, 429]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unreadable"),
        ("192.0.2.1, 10.0.0.1", "unreadable"),
        ("010.0.0.1", "unreadable"),
        ("", "unreadable"),
        (None, "unreadable"),
    ],
)
def test_every_address_has_a_bucket_and_the_unreadable_share_one(address, key):
    """T16"""
    assert network_key(address) == key


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"])
def test_without_a_proxy_nobody_chooses_the_own_address(house, reopen, header):
    """T16"""
    limited = reopen(PUBLIC_RATE_LIMIT="2/minute")
    api = Api(limited, "wrong")
    said = [api.get("/v1/templates", headers={header: f"198.51.100.{number}"}).status_code for number in range(3)]
    assert said == [401, 401, 429]


def test_behind_one_proxy_the_address_it_saw_counts(house, reopen):
    """T16: the proxy appends; what stood there before is the caller's own invention."""
    limited = reopen(PUBLIC_RATE_LIMIT="1/minute", TRUSTED_PROXY_COUNT="1")
    calls = ["198.51.100.1", "198.51.100.2", "9.9.9.9, 198.51.100.1", "8.8.8.8, 198.51.100.3"]
    assert [strangers(limited, "10.0.0.1", forwarded=each)[0] for each in calls] == [401, 401, 429, 401]


def test_behind_two_proxies_the_last_but_one_counts(house, reopen):
    """T16"""
    limited = reopen(PUBLIC_RATE_LIMIT="1/minute", TRUSTED_PROXY_COUNT="2")
    calls = ["198.51.100.1, 10.0.0.2", "9.9.9.9, 198.51.100.1, 10.0.0.2", "198.51.100.2, 10.0.0.2"]
    assert [strangers(limited, "10.0.0.1", forwarded=each)[0] for each in calls] == [401, 429, 401]


def test_with_redis_all_processes_count_together(house, reopen, redis_url, counts):
    """T13"""
    key = house.add_client()
    one = Api(reopen(API_RATE_LIMIT="3/minute", REDIS_URL=redis_url), key)
    assert statuses(one, 2) == [200, 200]
    assert counts.dbsize() > 0
    # A second process: its own application, nothing shared but Redis.
    other = Api(reopen(API_RATE_LIMIT="3/minute", REDIS_URL=redis_url), key)
    assert statuses(other, 2) == [200, 429]
    assert other.get("/readyz").json["checks"]["limits"] == "ok"


def test_with_redis_a_stranger_is_counted_where_a_caller_was_before(house, reopen, redis_url, counts):
    """T13, T24"""
    key = house.add_client()
    limited = reopen(PUBLIC_RATE_LIMIT="2/minute", REDIS_URL=redis_url)
    assert statuses(Api(limited, key), 1) == [200]
    assert strangers(limited, *["192.0.2.1"] * 3) == [401, 401, 429]
    assert statuses(Api(limited, key), 1) == [200]


def test_with_redis_gone_each_process_still_limits(house, reopen, limiter_is_put_back):
    """T13, T34, F5: never unlimited, and still ready to take mail."""
    limited = reopen(API_RATE_LIMIT="3/minute", REDIS_URL="redis://127.0.0.1:1/0")
    api = Api(limited, limited.add_client())
    assert statuses(api, 5) == [200, 200, 200, 429, 429]
    response = api.get("/v1/templates")
    assert (response.json["code"], int(response.headers["Retry-After"]) > 0) == ("rate_limited", True)
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["limits"]) == (200, "local")
