"""One server under test: calls it, and notes each answer in a form that can be compared."""

import base64
import json
import re

import boto3
import botocore.config
import botocore.exceptions

# What differs between two servers, or two runs, and says nothing.
MEANINGLESS = {
    "ApproximateFirstReceiveTimestamp": "<time>",
    "CreatedTimestamp": "<time>",
    "LastModifiedTimestamp": "<time>",
    "MessageId": "<id>",
    "NextToken": "<token>",
    "ReceiptHandle": "<handle>",
    "SenderId": "<sender>",
    "SentTimestamp": "<time>",
    "SequenceNumber": "<number>",
    "StartedTimestamp": "<time>",
    "TaskHandle": "<task>",
}


class Recorder:
    """Notes what one server answers to the steps of one case."""

    def __init__(self, case, endpoint):
        self.case = case
        self.answers = {}
        self.sqs = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="conformance",
            aws_secret_access_key="conformance",
            config=botocore.config.Config(
                retries={"max_attempts": 0},
                parameter_validation=False,
                read_timeout=30,
            ),
        )

    def queue(self, suffix="", **attributes):
        """Creates a queue of the case's own, and gives its URL."""
        return self.sqs.create_queue(QueueName=self.name(suffix), Attributes=attributes)["QueueUrl"]

    def name(self, suffix=""):
        return f"{self.case}-{suffix}" if suffix else self.case

    def arn(self, url):
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def step(self, name, call, /, **parameters):
        """Calls, notes the answer or the error under this name, and gives the answer ({} for an error)."""
        try:
            answer = getattr(self.sqs, call)(**parameters)
        except botocore.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            self.note(name, {"error": error.response["Error"]["Code"], "class": f"{status // 100}xx"})
            return {}
        except Exception as error:  # a client that cannot read an answer is an answer, too
            self.note(name, {"error": type(error).__name__, "class": "unreadable"})
            return {}
        answer.pop("ResponseMetadata")
        self.note(name, answer)
        return answer

    def note(self, name, answer):
        assert name not in self.answers, f"{self.case} has two steps named {name}"
        self.answers[name] = comparable(answer)

    def receive(self, url, **parameters):
        """Receives without noting it."""
        return self.sqs.receive_message(QueueUrl=url, **parameters).get("Messages", [])

    def bodies(self, url, **parameters):
        return [message["Body"] for message in self.receive(url, **parameters)]

    def counts(self, url):
        """Visible, in flight, delayed."""
        names = ["", "NotVisible", "Delayed"]
        names = [f"ApproximateNumberOfMessages{name}" for name in names]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return [int(attributes[name]) for name in names]


def comparable(value, key=None):
    if key in MEANINGLESS:
        return MEANINGLESS[key]
    if isinstance(value, dict):
        inner = {name: comparable(inner, name) for name, inner in sorted(value.items())}
        # The words of an error are each server's own; its code is not.
        if "SenderFault" in inner:
            inner.pop("Message", None)
        return inner
    if isinstance(value, (list, tuple)):
        values = [comparable(inner, key) for inner in value]
        ordered = key in ("QueueUrls", "queueUrls", "Successful", "Failed")
        return sorted(values, key=lambda each: json.dumps(each, sort_keys=True)) if ordered else values
    if isinstance(value, bytes):
        return "base64:" + base64.b64encode(value).decode()
    if isinstance(value, str):
        value = re.sub(r"https?://[^/]+/\d{12}/", "<url>/", value)
        value = re.sub(r"arn:aws:sqs:us-east-1:\d{12}:", "<arn>:", value)
        if len(value) > 200:
            return f"{value[:20]}… {len(value)} characters"
        if value.startswith("{"):
            return comparable(json.loads(value))
    return value
