"""A relay of the usual kind, written well: takes a thousand events whose published_at is NULL, skips what others have
locked, writes them as lines of JSON, and marks them in the same transaction. One thread.

The server's rows come in binary, JSON is made by the standard library with one template for each event, and all of a
batch is written at once: what is left is the price of a row that is locked, read and updated.

Reads DATABASE_URL; writes the events to /dev/null; ends after an empty batch; prints one line of JSON.
"""

import json
import os

import psycopg
from job import Measured

BATCH = 1000
TAKE = """
    SELECT position, event_id, created_at, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date
    FROM peer.outbox WHERE published_at IS NULL ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED
"""
MARK = "UPDATE peer.outbox SET published_at = now() WHERE position = ANY (%s)"


def main():
    with psycopg.connect(os.environ["DATABASE_URL"]) as database, open(os.devnull, "w") as sink:
        measured = Measured()
        while carry(database, sink, measured):
            pass
    measured.report()


def carry(database, sink, measured):
    with database.cursor(binary=True) as cursor:
        rows = cursor.execute(TAKE, [BATCH]).fetchall()
        if not rows:
            return False
        sink.write("".join(map(line, rows)))
        sink.flush()
        cursor.execute(MARK, [[row[0] for row in rows]])
    database.commit()
    measured.done(len(rows))
    return True


def line(row):
    position, event_id, created_at, user_id, device_type, ip, device_id, locale, app_version, create_date = row
    event = {
        "specversion": "1.0",
        "id": event_id.hex(),
        "source": "urn:peer:logins",
        "type": "login.loaded",
        "subject": user_id,
        "time": created_at.isoformat(),
        "datacontenttype": "application/json",
        "sequence": f"{position:020}",
        "data": {
            "user_id": user_id,
            "app_version": app_version,
            "device_type": device_type,
            "masked_ip": ip,
            "locale": locale,
            "masked_device_id": device_id,
            "create_date": create_date.isoformat(),
        },
    }
    return json.dumps(event) + "\n"


main()
