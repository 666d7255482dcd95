"""What receivers want to read in DNS before they believe a sender's domain: SPF, DKIM and DMARC, and what to change.

Pure rules over a function that finds text records. Knows of a provider only what it asks its customers to publish.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from email_service.delivery.dkim import dns_name, dns_record
from email_service.settings import DkimKey
from email_service.web.checks import Finding, Level

FindTexts = Callable[[str], Sequence[str]]

MOST_LOOKUPS = 10  # RFC 7208 4.6.4
# What the records of senders include who hand mail to such a server under their own domain. Amazon SES is not among
# them: its envelopes are of its own domain unless one was set up, and nobody can tell from here.
_PROVIDERS = {
    "gmail.com": "_spf.google.com",
    "google.com": "_spf.google.com",
    "sendgrid.net": "sendgrid.net",
    "mailgun.org": "mailgun.org",
    "office365.com": "spf.protection.outlook.com",
    "postmarkapp.com": "spf.mtasv.net",
}
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})  # the terms that cost a receiver a lookup
_NAME_OF_TERM = re.compile(r"[a-z0-9]*")


def check_spf(domain: str, servers: Sequence[str], find_texts: FindTexts) -> Finding:
    """Whether the domain says who may send for it (RFC 7208), and by these mail servers."""
    for level, detail in _spf_faults(domain, servers, find_texts):
        return Finding("spf", level, detail, level.value, domain)
    return Finding("spf", Level.OK, "The domain says who may send for it.", about=domain)


def _spf_faults(domain: str, servers: Sequence[str], find_texts: FindTexts) -> Iterator[tuple[Level, str]]:
    """What is wrong with the record, the worst first."""
    includes = [each for each in dict.fromkeys(map(_find_include, servers)) if each]
    records = _spf_records(domain, find_texts)
    if not records:
        wanted = " ".join(["v=spf1", *(f"include:{each}" for each in includes), "~all"])
        advice = "" if includes else ", with what your mail provider tells you to include"
        yield Level.FAILURE, f"There is no SPF record: publish `{wanted}` as TXT at {domain}{advice}."
        return
    if len(records) > 1:
        yield Level.FAILURE, "There are several SPF records, so receivers use none: make them one."
    terms = records[0].lower().split()[1:]
    if {"+all", "all"} & set(terms):
        yield Level.FAILURE, "It lets everybody send for the domain: end it with ~all or -all."
    count = _count_lookups(domain, find_texts, {domain})
    if count > MOST_LOOKUPS:
        told = f"It takes more than {MOST_LOOKUPS} DNS lookups, where receivers stop: take out what sends no more."
        yield Level.FAILURE, told
    known = _find_included(domain, find_texts, set())
    if missing := [f"include:{each}" for each in includes if each not in known]:
        yield Level.FAILURE, f"It does not name your mail provider: add {' and '.join(missing)}."
    if not {"~all", "-all"} & set(terms) and not any(term.startswith("redirect=") for term in terms):
        yield Level.WARNING, "It does not say what holds for everybody else: end it with ~all or -all."


def check_dkim(key: DkimKey, find_texts: FindTexts) -> Finding:
    """Whether the public half of a key is published (RFC 6376)."""
    name = dns_name(key)
    published = [_tags(text) for text in find_texts(name)]
    keys = [tags["p"].replace(" ", "") for tags in published if "p" in tags]
    if not keys:
        told = f"Nothing is published at {name}: publish what `email-service dkim record` prints."
        return Finding("dkim", Level.FAILURE, told, "missing", name)
    if len(keys) > 1:
        told = f"There are several keys at {name}: leave the one that `email-service dkim record` prints."
        return Finding("dkim", Level.FAILURE, told, "wrong", name)
    if keys[0] != _tags(dns_record(key))["p"]:
        told = f"Another key is published at {name}: publish what `email-service dkim record` prints, or use its key."
        return Finding("dkim", Level.FAILURE, told, "wrong", name)
    if "y" in published[0].get("t", "").split(":"):
        told = f"The record at {name} says t=y, so receivers only try it out: take that away."
        return Finding("dkim", Level.WARNING, told, "testing", name)
    return Finding("dkim", Level.OK, "The key that signs is published.", about=name)


def tell_foreign_signing(domain: str) -> Finding:
    """For a domain whose mail is not signed here."""
    told = f"Mail of {domain} is not signed here: make sure that your mail provider signs it, or set DKIM_KEYS."
    return Finding("dkim", Level.WARNING, told, "elsewhere", domain)


def check_dmarc(domain: str, signers: Sequence[str], find_texts: FindTexts) -> Finding:
    """Whether the domain, or one above it, says what becomes of mail that only pretends to be its own (RFC 7489)."""
    for place in upwards(domain):
        records = [text for text in find_texts(f"_dmarc.{place}") if text.replace(" ", "").startswith("v=DMARC1")]
        if records:
            return _judge_dmarc(domain, place, records, signers)
    told = f"There is no DMARC record: publish `v=DMARC1; p=none; rua=mailto:you@{domain}` as TXT at _dmarc.{domain}."
    return _dmarc(domain, Level.FAILURE, told)


def _judge_dmarc(domain: str, place: str, records: Sequence[str], signers: Sequence[str]) -> Finding:
    tags = _tags(records[0])
    policy = tags.get("p", "") if place == domain else tags.get("sp", tags.get("p", ""))
    if len(records) > 1:
        told = f"There are several DMARC records at _dmarc.{place}, so receivers use none: leave one."
        return _dmarc(domain, Level.FAILURE, told)
    if policy.lower() not in {"none", "quarantine", "reject"}:
        told = f"The DMARC record at _dmarc.{place} has no policy: add p=none, p=quarantine or p=reject."
        return _dmarc(domain, Level.FAILURE, told)
    if tags.get("adkim", "r").lower() == "s" and signers and domain not in signers:
        told = (
            f"The DMARC record says adkim=s, but mail of {domain} is signed by {signers[0]}: give it a key of its own."
        )
        return _dmarc(domain, Level.FAILURE, told)
    if policy.lower() == "none":
        told = "Its policy is none: receivers report, and stop nobody. Once the reports are clean, set p=quarantine."
        return _dmarc(domain, Level.WARNING, told)
    return _dmarc(domain, Level.OK, f"Its policy is {policy.lower()}.")


def _dmarc(domain: str, level: Level, detail: str) -> Finding:
    return Finding("dmarc", level, detail, level.value, domain)


def _find_include(server: str) -> str | None:
    name = server.lower().rstrip(".")
    return next((part for ending, part in _PROVIDERS.items() if name == ending or name.endswith(f".{ending}")), None)


def _spf_records(domain: str, find_texts: FindTexts) -> list[str]:
    return [text for text in find_texts(domain) if text.lower().split(" ")[0] == "v=spf1"]


def _terms(domain: str, find_texts: FindTexts) -> Iterator[str]:
    for record in _spf_records(domain, find_texts)[:1]:
        yield from (term.lstrip("+-~?").lower() for term in record.split()[1:])


def _find_included(domain: str, find_texts: FindTexts, seen: set[str]) -> set[str]:
    """Every domain that the record includes or is redirected to; no more than receivers would ask for."""
    for term in _terms(domain, find_texts):
        following = term.removeprefix("include:").removeprefix("redirect=")
        if following != term and following not in seen and len(seen) <= MOST_LOOKUPS:
            seen.add(following)
            _find_included(following, find_texts, seen)
    return seen


def _count_lookups(domain: str, find_texts: FindTexts, path: set[str]) -> int:
    """How many DNS lookups a receiver needs, counted until it is too many; a loop is too many."""
    count = 0
    for term in _terms(domain, find_texts):
        count += _NAME_OF_TERM.match(term)[0] in _ASKING  # type: ignore[index] # it matches anything
        following = term.removeprefix("include:").removeprefix("redirect=")
        if following != term:
            if following in path or count > MOST_LOOKUPS:
                return MOST_LOOKUPS + 1
            count += _count_lookups(following, find_texts, path | {following})
    return count


def _tags(text: str) -> dict[str, str]:
    """The tags of a DKIM or DMARC record (RFC 6376 3.2)."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, is_pair, value in pairs if is_pair}


def upwards(domain: str) -> Iterator[str]:
    """The domain and those above it, without the top one."""
    labels = domain.split(".")
    yield from (".".join(labels[number:]) for number in range(max(1, len(labels) - 1)))
