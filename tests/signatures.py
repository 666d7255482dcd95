"""Checks DKIM signatures in two ways: by dkimpy, and by the letter of RFC 6376 and RFC 8463. Asks no DNS."""

import base64
import hashlib
import re
from collections.abc import Mapping

import dkim as dkimpy
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_public_key

Records = Mapping[str, str]  # the TXT record behind each name


def write_key(path, key, form=PrivateFormat.PKCS8, encryption=None):
    path.write_bytes(key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()))
    return path


def fields_of(content):
    head = content.split(b"\r\n\r\n")[0]
    found = re.findall(rb"([!-9;-~]+)[ \t]*:((?:.*)(?:\r\n[ \t].*)*)(?:\r\n|\Z)", head)
    return [(name.lower(), value) for name, value in found]


def tags_of(value):
    pairs = (tag.split(b"=", 1) for tag in re.sub(rb"\s", b"", value).rstrip(b";").split(b";"))
    return {name.decode(): written.decode() for name, written in pairs}


def signatures_of(content):
    return [tags_of(value) for name, value in fields_of(content) if name == b"dkim-signature"]


def relaxed(name, value):
    value = value.replace(b"\r\n", b"")
    return name + b":" + re.sub(rb"[ \t]+", b" ", value).strip(b" ")


def body_hash_of(content):
    lines = content.split(b"\r\n\r\n", 1)[1].split(b"\r\n")
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return base64.b64encode(hashlib.sha256(b"".join(line + b"\r\n" for line in lines)).digest()).decode()


def is_valid(content, number, records):
    """Whether the signature in this place holds, by the letter of RFC 6376 6.1 and RFC 8463 3."""
    fields = fields_of(content)
    own = [value for name, value in fields if name == b"dkim-signature"][number]
    tags = tags_of(own)
    if tags["bh"] != body_hash_of(content):
        return False
    below = list(reversed(fields))
    signed = b""
    for name in tags["h"].encode().split(b":"):
        at = next((at for at, each in enumerate(below) if each[0] == name), None)
        signed += relaxed(*below.pop(at)) + b"\r\n" if at is not None else b""
    signed += relaxed(b"dkim-signature", re.sub(rb"([;\s]b=)[^;]*", rb"\1", own))
    record = tags_of(records[f"{tags['s']}._domainkey.{tags['d']}"].encode())
    public, signature = base64.b64decode(record["p"]), base64.b64decode(tags["b"])
    try:
        if tags["a"] == "rsa-sha256":
            load_der_public_key(public).verify(signature, signed, PKCS1v15(), SHA256())
        else:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, hashlib.sha256(signed).digest())
    except InvalidSignature:
        return False
    return True


def dkimpy_says(content, number, records):
    verifier = dkimpy.DKIM(content)
    try:
        return verifier.verify(idx=number, dnsfunc=lambda name, timeout=5: records[name.decode().rstrip(".")])
    except dkimpy.ValidationError:
        return False


def verdicts(content, records):
    found = []
    for number in range(len(signatures_of(content))):
        found += [is_valid(content, number, records), dkimpy_says(content, number, records)]
    return found
