"""The job that both peers do: a message of the queue becomes a row of `user_logins`, masked. And how they are timed.

It is Turnstile's job without Turnstile's promise: no deduplication, no dead letters, no outbox, one table without an
index. Every body is taken to be a login, so nothing is spent on checking it.

The personal fields are masked by AES-256-SIV (RFC 5297): like Turnstile's AES-256-GCM-SIV it is deterministic and
recoverable with the key, but it needs no nonce, so one call of `cryptography` does it (2 µs a field, mostly the call).
"""

import json
import os
import time
from base64 import urlsafe_b64encode
from datetime import datetime, timezone

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

# A schema of their own: where the database is Turnstile's too, its table is another one.
SCHEMA = """
    create schema if not exists peer;
    create table if not exists peer.user_logins (
        user_id varchar(128), device_type varchar(32), masked_ip varchar(256), masked_device_id varchar(256),
        locale varchar(32), app_version integer, create_date date
    )
"""

# What equal values are masked to must be equal for the length of a run only.
CIPHER = AESSIV(AESSIV.generate_key(512))


def row(message):
    """The seven columns, in the order of the table."""
    login = json.loads(message["Body"])
    sent_at = int(message["Attributes"]["SentTimestamp"]) / 1000
    return (
        login["user_id"],
        login["device_type"],
        mask(login["ip"], b"ip"),
        mask(login["device_id"], b"device_id"),
        login["locale"],
        version(login["app_version"]),
        datetime.fromtimestamp(sent_at, timezone.utc).date(),
    )


def mask(value, column):
    return urlsafe_b64encode(CIPHER.encrypt(value.encode(), [column])).decode()


def version(text):
    """One integer that keeps the order of versions."""
    major, minor, patch = (*map(int, text.split(".")), 0, 0)[:3]
    return major * 1_000_000 + minor * 1_000 + patch


class Measured:
    """Time and CPU from the first receive to the last delete: neither start-up nor the wait for the end counts."""

    def __init__(self):
        self.start = self.end = self.now()
        self.messages = 0

    def done(self, messages):
        self.messages += messages
        self.end = self.now()

    def report(self):
        seconds, cpu = (round(end - start, 3) for start, end in zip(self.start, self.end, strict=True))
        print(json.dumps({"messages": self.messages, "seconds": seconds, "cpu_seconds": cpu}))

    @staticmethod
    def now():
        times = os.times()
        return time.monotonic(), times.user + times.system
