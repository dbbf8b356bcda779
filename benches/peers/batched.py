"""The same loader written well: gather five hundred, insert them at once, commit, delete by tens. One thread still.

Fifty receives share a transaction, so that a commit's flush to disk is spread over as many rows as in a batch of
Turnstile's; COPY takes them in one round trip; a delete call takes ten. What is left is boto3's own cost of two calls
for ten messages, nearly all of the program's CPU: neither executemany for COPY, nor boto3's checks of parameters
switched off made a difference that could be told from noise.

Reads QUEUE, DATABASE_URL and AWS's own variables; ends after three empty receives; prints one line of JSON.
"""

import os

import boto3
import psycopg
from job import SCHEMA, Measured, row

RECEIVES = 50
COPY = "copy peer.user_logins from stdin (format binary)"
TYPES = ["varchar", "varchar", "varchar", "varchar", "varchar", "int4", "date"]


def main():
    # Of the two variables for it, boto3 reads AWS_DEFAULT_REGION only.
    sqs = boto3.client("sqs", region_name=os.environ["AWS_REGION"])
    queue = sqs.get_queue_url(QueueName=os.environ["QUEUE"])["QueueUrl"]
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute(SCHEMA)
        database.commit()
        measured = Measured()
        empty = 0
        while empty < 3:
            messages = gather(sqs, queue)
            if not messages:
                empty += 1
                continue
            empty = 0
            load(database, messages)
            delete(sqs, queue, messages)
            measured.done(len(messages))
    measured.report()


def gather(sqs, queue):
    """What the receives bring; fewer of them where one comes back short."""
    messages = []
    for _ in range(RECEIVES):
        # Only the first waits: what is in hand must not.
        wait = 0 if messages else 1
        reply = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait, AttributeNames=["SentTimestamp"]
        )
        received = reply.get("Messages", [])
        messages += received
        if len(received) < 10:
            break
    return messages


def load(database, messages):
    with database.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(TYPES)
        for message in messages:
            copy.write_row(row(message))
    database.commit()


def delete(sqs, queue, messages):
    """Deletes by tens; what an answer says was not deleted comes again."""
    for start in range(0, len(messages), 10):
        entries = [
            {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
            for index, message in enumerate(messages[start : start + 10])
        ]
        sqs.delete_message_batch(QueueUrl=queue, Entries=entries)


main()
