"""What other systems' links and codes got wrong, tried against ours: over HTTP, on PostgreSQL, a test for each attack.

Which advisories there are, and which concern nothing here, is said in `advisories.py`.
"""

from collections import Counter
from functools import partial

import pytest
from sqlalchemy import select

from email_service.sessions.models import UserSession
from email_service.signing.service import Signer
from email_service.tokens.models import Token
from email_service.tokens.purposes import RULES, Purpose
from tests.applications import Api, House
from tests.log_capture import captured_logs
from tests.races import together
from tests.strangers import ADA, Stranger, audited, issue, put_account

PAGES = {"email_verification": "/pages/email-verification", "email_change": "/pages/email-change"}
CODE_PAGE = "/pages/email-verification/code"
LINKED = [purpose.value for purpose, rule in RULES.items() if rule.has_link]
UNKNOWN = "A" * 43


def wrong(code: str, number: int = 1) -> str:
    return f"{(int(code) + number) % 10**6:06}"


def show(api: Api, surface: str, purpose: str, network: int, proof: dict[str, str]) -> int:
    """The status of one redemption, through one of the doors that there are, from a network of its own."""
    stranger = Stranger(api.house, f"198.51.{network}.1")
    if surface == "internal":
        return api.post("/v1/tokens/consume", json={"purpose": purpose, **proof}).status_code
    if surface == "page":
        path = CODE_PAGE if "code" in proof else PAGES[purpose]
        return stranger.request("POST", path, data=proof).status_code
    return stranger.consume(purpose=purpose, **proof).status_code


def tries(house: House) -> list[int]:
    return [row[0] for row in house.execute(select(Token.code_try_count))]


@pytest.mark.parametrize(
    ("purpose", "proofs", "surfaces"),
    [
        pytest.param("password_reset", ["token"], ["public"], id="GHSA-7w99-5wm4-3g79"),
        pytest.param("password_reset", ["token"], ["public", "internal"], id="supabase/auth #2612"),
        pytest.param("email_verification", ["token", "code"], ["public", "internal", "page"], id="kratos 6ce2bd861"),
        pytest.param("magic_link", ["token", "code"], ["public"], id="better-auth #9572"),
        pytest.param("magic_link", ["token"], ["internal", "public"], id="GHSA-hc7v-rggr-4hvx"),
        pytest.param("login_code", ["code"], ["public", "internal"], id="CVE-2026-107276"),
    ],
)
def test_a_one_time_secret_is_redeemed_once_through_whichever_doors_it_comes_at_once(
    *, house, api, purpose, proofs, surfaces
):
    """T6: GoTrue, Kratos, better-auth and MISP looked first and deleted or marked afterwards, so two looked in vain."""
    for _ in range(2):
        made = issue(house, purpose)
        shown = {"token": {"token": made.get("token", "")}, "code": {"email": ADA, "code": made.get("code", "")}}
        # A code has five tries, and each of these calls is one.
        ways = [(surface, shown[proof]) for surface in surfaces for proof in proofs] * 12
        ways = ways[:4] if "code" in proofs and "token" not in proofs else ways[:12]
        calls = [partial(show, api, way, purpose, number, proof) for number, (way, proof) in enumerate(ways)]
        assert Counter(together(calls))[200] == 1
    assert [name for name, _, _ in audited(house)].count("token.consumed") == 2


@pytest.mark.parametrize("purpose", LINKED)
def test_a_link_that_was_used_is_dead_for_the_rest_of_its_lifetime(house, api, purpose):
    """CVE-2026-73431 (signed links without a row), GHSA-2hp9-3xfr-r9w2 (a reset that outlived its use); T6."""
    token = issue(house, purpose)["token"]
    assert show(api, "internal", purpose, 1, {"token": token}) == 200
    for number, surface in enumerate(["internal", "public", "public"]):
        assert show(api, surface, purpose, number, {"token": token}) == 400
    assert Stranger(house).verify(token, purpose).json["code"] == "token_used"


def test_a_magic_link_that_was_revoked_signs_nobody_in(house, api):
    """CVE-2026-82761, ash_authentication: the way that revokes and the way that signs in know the same row; T6."""
    made = issue(house, "magic_link")
    assert api.request("DELETE", "/v1/tokens?subject=u-1&purpose=magic_link").json == {"revoked": 1}
    proofs = [{"token": made["token"]}, {"email": ADA, "code": made["code"]}]
    assert [show(api, "public", "magic_link", 1, proof) for proof in proofs] == [400, 400]
    assert audited(house, "token.consumed") == []


def test_a_guess_stays_counted_when_the_transaction_that_weighed_it_fails(house, api):
    """kratos #4251: the counter stood inside the transaction that an error takes back; T4."""
    code = issue(house, "login_code")["code"]
    house.parts.get(Signer).prepare()
    house.execute("ALTER TABLE tokens RENAME consumed_by TO was_consumed_by")
    try:
        with captured_logs():
            statuses = {show(api, "public", "login_code", 1, {"email": ADA, "code": code}) for _ in range(2)}
    finally:
        house.execute("ALTER TABLE tokens RENAME was_consumed_by TO consumed_by")
    assert statuses == {500}
    assert tries(house) == [2]
    assert show(api, "public", "login_code", 1, {"email": ADA, "code": code}) == 200


def test_no_wrong_guess_of_many_at_once_goes_uncounted(house, api):
    """kratos 8d4b3c3ae: increments lost under concurrency; T4, on the database of production."""
    code = issue(house, "email_verification")["code"]
    surfaces = ["public", "internal", "page"] * 5
    calls = [
        partial(show, api, surface, "email_verification", number, {"email": ADA, "code": wrong(code, number + 1)})
        for number, surface in enumerate(surfaces)
    ]
    assert set(together(calls)) == {400}
    assert tries(house) == [5]
    assert show(api, "public", "email_verification", 99, {"email": ADA, "code": code}) == 400


@pytest.mark.parametrize("right_door", ["public", "internal", "page"])
def test_the_tries_of_a_code_are_five_through_all_doors_together(house, api, right_door):
    """allauth 65.3.0 headless: MAX_ATTEMPTS held on one API and not on the other; T4."""
    code = issue(house, "email_verification")["code"]
    for number, surface in enumerate(["public", "internal", "page", "internal", "public"]):
        proof = {"email": ADA, "code": wrong(code, number + 1)}
        assert show(api, surface, "email_verification", number, proof) == 400
    assert show(api, right_door, "email_verification", 99, {"email": ADA, "code": code}) == 400


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("X-Forwarded-For", id="CVE-2026-33640"),
        pytest.param("X-Real-IP", id="supabase discussion #33745"),
    ],
)
def test_a_code_dies_of_five_guesses_whatever_becomes_of_the_limit_of_networks(house, header):
    """Outline and GoTrue counted by network only, so that whoever got round that could guess on; T4."""
    code = issue(house, "login_code")["code"]
    for number in range(1, 9):
        stranger = Stranger(house, f"203.0.113.{number}")
        body = {"purpose": "login_code", "email": ADA, "code": wrong(code, number)}
        stranger.post("/consume", json=body, headers={header: f"192.0.2.{number}"})
    assert tries(house) == [5]
    right = Stranger(house, "203.0.113.99").consume(purpose="login_code", email=ADA, code=code)
    assert (right.status_code, right.json["code"]) == (400, "token_invalid")


@pytest.mark.parametrize(
    "call",
    [
        lambda stranger: stranger.verify(UNKNOWN),
        lambda stranger: stranger.consume(token=UNKNOWN),
        lambda stranger: stranger.consume(purpose="login_code", email=ADA, code="000000"),
        lambda stranger: stranger.request("POST", "/pages/email-change", data={"token": UNKNOWN}),
        lambda stranger: stranger.request("POST", CODE_PAGE, data={"email": ADA, "code": "000000"}),
    ],
    ids=["verify", "consume", "code", "page", "page of codes"],
)
def test_every_door_that_compares_a_secret_has_a_limit(house, call):
    """CVE-2026-105638, Plane: sending was limited and verifying was not; T4."""
    statuses = [call(Stranger(house, "203.0.113.7")).status_code for _ in range(7)]
    assert statuses == [400] * 5 + [429] * 2


@pytest.mark.parametrize("purpose", Purpose)
def test_what_was_issued_for_one_purpose_is_a_link_for_no_other(house, api, purpose):
    """CVE-2026-110862, CVE-2026-114607, GHSA-965c-763c-88jm: states and magic links shared a table; T8."""
    made = issue(house, purpose)
    for number, other in enumerate(frozenset(Purpose) - {purpose}):
        proofs = [{"token": made["token"]}] if "token" in made else []
        proofs += [{"email": ADA, "code": made["code"]}] if "code" in made else []
        for surface in ("public", "internal"):
            assert {show(api, surface, other, number, proof) for proof in proofs} == {400}
    assert house.execute(select(Token.id).where(Token.consumed_at.is_not(None))) == []
    assert tries(house) == [0]


def test_a_state_of_somebodys_login_is_no_token(house, api):
    """CVE-2026-114607: other random values that are kept (request ids, keys, references) redeem nothing; T8."""
    planted = "S" * 43
    message = api.send(key=planted, client_reference=planted, tags=[planted], metadata={"state": planted})
    assert message.status_code == 202
    Stranger(house).post("", json={"purpose": "magic_link", "email": ADA}, headers={"X-Request-ID": planted})
    for number, purpose in enumerate(Purpose):
        assert show(api, "public", purpose, number, {"token": planted}) == 400
        assert show(api, "internal", purpose, number, {"token": planted}) == 400


def test_proving_an_address_confirms_nothing_but_the_address(house, api):
    """CVE-2026-53516: an account that somebody else had registered was taken for the one of whoever verified."""
    put_account(house, ADA, "u-attacker")
    before = api.get("/v1/accounts/u-attacker").json
    token = issue(house, "email_verification", "u-attacker")["token"]
    told = Stranger(house).consume(purpose="email_verification", token=token).json
    assert (told["subject"], told["email"]) == ("u-attacker", ADA)
    proven = {name: value for name, value in before.items() if name not in {"email_verified", "updated_at"}}
    after = api.get("/v1/accounts/u-attacker").json
    assert after == {**proven, "email_verified": True, "updated_at": after["updated_at"]}
    assert house.execute(select(UserSession.id)) == []


@pytest.mark.parametrize("purpose", Purpose)
def test_redeeming_gives_no_session_and_raises_nothing(house, api, purpose):
    """CVE-2024-45042: a code counted as more assurance than it is; T32: the main app alone decides on a session."""
    put_account(house)
    made = issue(house, purpose)
    proof = {"token": made["token"]} if "token" in made else {"email": ADA, "code": made["code"]}
    response = Stranger(house).consume(purpose=purpose, **proof)
    assert (response.status_code, set(response.json)) == (200, {"purpose", "subject", "email", "assertion"})
    assert "Set-Cookie" not in response.headers
    assert house.execute(select(UserSession.id)) == []
    refreshed = api.post("/public/v1/sessions/refresh", json={"refresh_token": response.json["assertion"][:200]})
    assert refreshed.json["code"] == "token_invalid"


@pytest.mark.parametrize("purpose", Purpose)
def test_no_step_succeeds_before_the_one_that_it_follows(house, api, purpose):
    """CVE-2026-18963, Keycloak: the step that resets was reached without the token that the step before it checks."""
    put_account(house)
    stranger = Stranger(house)
    forged = [
        {"token": value} for value in (UNKNOWN, "null", "0", str(house.execute("SELECT gen_random_uuid()")[0][0]))
    ]
    for number, proof in enumerate([*forged, {"email": ADA, "code": "000000"}]):
        assert show(api, "public", purpose, number, proof) == 400
        assert show(api, "internal", purpose, number, proof) == 400
    assert {stranger.consume(purpose=purpose, **shown).status_code for shown in ({}, {"email": ADA})} == {422}
    assert api.request("DELETE", f"/v1/tokens?subject=u-1&purpose={purpose}").json == {"revoked": 0}
    assert [house.execute(select(table.id)) for table in (Token, UserSession)] == [[], []]
