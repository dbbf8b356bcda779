"""A loader of the usual kind: receive ten, insert each, commit, delete each. One thread, one connection.

The words allow a commit for each message, or one for the ten that were received together. This is the second reading,
which favours it: a tenth of the commits.

Reads QUEUE, DATABASE_URL and AWS's own variables; ends after three empty receives; prints one line of JSON.
"""

import os

import boto3
import psycopg
from job import SCHEMA, Measured, row

INSERT = "insert into peer.user_logins values (%s, %s, %s, %s, %s, %s, %s)"


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
            messages = receive(sqs, queue)
            for message in messages:
                database.execute(INSERT, row(message))
            database.commit()
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            if messages:
                measured.done(len(messages))
            empty = 0 if messages else empty + 1
    measured.report()


def receive(sqs, queue):
    reply = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["SentTimestamp"]
    )
    return reply.get("Messages", [])


main()
