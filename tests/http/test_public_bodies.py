"""What strangers send is read only after they were counted, and little of it for who has called too often."""

from io import BytesIO

from tests.strangers import TOKENS, Stranger, issue


def test_every_call_counts_before_its_body_is_read(house, reopen):
    """T28"""
    stranger = Stranger(reopen(PUBLIC_RATE_LIMIT="3/minute"))
    token = issue(house)["token"]
    malformed = stranger.post("", data=b"{", content_type="application/json")
    answers = [malformed, stranger.verify(token), stranger.ask("x"), stranger.post("/consume", data=b"{")]
    assert [each.status_code for each in answers] == [400, 200, 422, 429]
    assert stranger.post("", data=b"{", content_type="application/json").status_code == 429
    assert answers[-1].headers["Retry-After"]
    assert stranger.request("OPTIONS", TOKENS).status_code == 200


def test_nobody_who_called_too_often_has_a_large_body_read(reopen):
    """T28: a wish of an ordinary size is counted in one question with its address, and so it is read first."""
    stranger = Stranger(reopen(PUBLIC_RATE_LIMIT="1/minute"))
    assert stranger.ask().status_code == 202
    body = BytesIO(b"{" + b" " * 100_000)
    large = {"input_stream": body, "content_length": 100_001, "content_type": "application/json"}
    assert stranger.post("", **large).status_code == 429
    assert body.tell() == 0
    assert stranger.ask("x").status_code == 429
