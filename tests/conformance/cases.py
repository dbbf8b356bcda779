"""The operations and errors that are compared: one function a case, each with queues of its own."""

import json
import threading
import time

MIB = 1024 * 1024
CASES = {}


def case(function):
    CASES[function.__name__.replace("_", "-")] = function
    return function


def ids(entries):
    return [{"Id": str(index), **entry} for index, entry in enumerate(entries)]


def text(value, data_type="String"):
    return {"DataType": data_type, "StringValue": value}


def within(seconds, condition):
    """Waits until the condition holds; whether it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@case
def create(r):
    r.step("a queue", "create_queue", QueueName=r.name(), Attributes={"DelaySeconds": "1"})
    r.step("the same again", "create_queue", QueueName=r.name(), Attributes={"DelaySeconds": "1"})
    r.step("with another value", "create_queue", QueueName=r.name(), Attributes={"DelaySeconds": "2"})
    r.step("without a name", "create_queue", QueueName="")
    r.step("a name with a space", "create_queue", QueueName="a b")
    r.step("a name of 81 letters", "create_queue", QueueName="x" * 81)
    r.step("a FIFO name without the attribute", "create_queue", QueueName=r.name("x.fifo"))
    r.step("FIFO without the name", "create_queue", QueueName=r.name("y"), Attributes={"FifoQueue": "true"})
    r.step("an unknown attribute", "create_queue", QueueName=r.name("z"), Attributes={"Nonsense": "1"})
    for name, value in (
        ("VisibilityTimeout", "43201"),
        ("DelaySeconds", "901"),
        ("MessageRetentionPeriod", "59"),
        ("MaximumMessageSize", "1023"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("VisibilityTimeout", "soon"),
    ):
        r.step(f"{name} {value}", "create_queue", QueueName=r.name(name + value), Attributes={name: value})
    r.step("its URL", "get_queue_url", QueueName=r.name())
    r.step("the URL of none", "get_queue_url", QueueName=r.name("none"))


@case
def list_queues(r):
    for suffix in "abc":
        r.queue(suffix)
    r.step("by prefix", "list_queues", QueueNamePrefix=r.name())
    r.step("by the prefix of none", "list_queues", QueueNamePrefix="no-such-prefix")
    first = r.step("the first two", "list_queues", QueueNamePrefix=r.name(), MaxResults=2)
    token = first.get("NextToken", "")
    r.step("the rest", "list_queues", QueueNamePrefix=r.name(), MaxResults=2, NextToken=token)


@case
def delete_queue(r):
    url = r.queue()
    r.step("delete", "delete_queue", QueueUrl=url)
    r.step("send to it", "send_message", QueueUrl=url, MessageBody="x")
    r.step("receive from it", "receive_message", QueueUrl=url)
    r.step("delete it again", "delete_queue", QueueUrl=url)
    r.step("create it again at once", "create_queue", QueueName=r.name())


@case
def attributes(r):
    url = r.queue(VisibilityTimeout="7")
    fifo = r.queue("x.fifo", FifoQueue="true")
    r.step("all", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
    r.step("all of a FIFO queue", "get_queue_attributes", QueueUrl=fifo, AttributeNames=["All"])
    r.step("one", "get_queue_attributes", QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    r.step("none", "get_queue_attributes", QueueUrl=url)
    r.step("an unknown one", "get_queue_attributes", QueueUrl=url, AttributeNames=["Nonsense"])
    r.step("FifoQueue of a standard queue", "get_queue_attributes", QueueUrl=url, AttributeNames=["FifoQueue"])
    r.step("set", "set_queue_attributes", QueueUrl=url, Attributes={"DelaySeconds": "3", "VisibilityTimeout": "8"})
    r.step("what was set", "get_queue_attributes", QueueUrl=url, AttributeNames=["DelaySeconds", "VisibilityTimeout"])
    r.step("set an unknown one", "set_queue_attributes", QueueUrl=url, Attributes={"Nonsense": "1"})
    r.step("set too much", "set_queue_attributes", QueueUrl=url, Attributes={"DelaySeconds": "901"})
    policy = {"deadLetterTargetArn": r.arn(url).replace("attributes", "none"), "maxReceiveCount": "3"}
    policies = {"RedrivePolicy": json.dumps(policy)}
    r.step("redrive to no queue", "set_queue_attributes", QueueUrl=url, Attributes=policies)
    policies = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": r.arn(fifo), "maxReceiveCount": "3"})}
    r.step("redrive to another kind", "set_queue_attributes", QueueUrl=url, Attributes=policies)
    policies = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": r.arn(url), "maxReceiveCount": "0"})}
    r.step("redrive after 0 receives", "set_queue_attributes", QueueUrl=url, Attributes=policies)


@case
def tags(r):
    url = r.queue()
    r.step("none", "list_queue_tags", QueueUrl=url)
    r.step("tag", "tag_queue", QueueUrl=url, Tags={"a": "1", "b": "2"})
    r.step("untag", "untag_queue", QueueUrl=url, TagKeys=["a"])
    r.step("what is left", "list_queue_tags", QueueUrl=url)


@case
def send(r):
    url = r.queue()
    r.step("a body", "send_message", QueueUrl=url, MessageBody='{"é": "😀\\n"}\t\r\n')
    every_kind = {
        "text": text("words"),
        "labelled": text("words", "String.label"),
        "number": text("-1.5"),
        "a_b-c.d": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    r.step("every kind of attribute", "send_message", QueueUrl=url, MessageBody="x", MessageAttributes=every_kind)
    header = {"AWSTraceHeader": text("Root=1-5759e988-bd862e3fe1be46a994272793")}
    r.step("a trace header", "send_message", QueueUrl=url, MessageBody="x", MessageSystemAttributes=header)
    received = r.step(
        "what arrives",
        "receive_message",
        QueueUrl=url,
        MaxNumberOfMessages=10,
        MessageSystemAttributeNames=["ApproximateReceiveCount", "AWSTraceHeader"],
        MessageAttributeNames=["All"],
    )
    r.note("how many arrive", len(received.get("Messages", [])))
    ten = {f"a{index}": text("x") for index in range(10)}
    r.step("ten attributes", "send_message", QueueUrl=url, MessageBody="x", MessageAttributes=ten)
    eleven = ten | {"a10": text("x")}
    r.step("eleven attributes", "send_message", QueueUrl=url, MessageBody="x", MessageAttributes=eleven)
    for name, attribute in (
        ("AWS.reserved", text("x")),
        (".dot", text("x")),
        ("a b", text("x")),
        ("empty", text("")),
        ("type", text("x", "Nonsense")),
        ("untyped", text("x", "")),
        ("number", text("one", "Number")),
    ):
        step = f"the attribute {name} {attribute['DataType']}"
        r.step(step, "send_message", QueueUrl=url, MessageBody="x", MessageAttributes={name: attribute})
    r.step("an empty body", "send_message", QueueUrl=url, MessageBody="")
    r.step("to no queue", "send_message", QueueUrl=url + "-none", MessageBody="x")
    r.step("a delay of 901 s", "send_message", QueueUrl=url, MessageBody="x", DelaySeconds=901)
    r.step("a deduplication id", "send_message", QueueUrl=url, MessageBody="x", MessageDeduplicationId="d")


@case
def characters(r):
    url = r.queue()
    for allowed in ("\t\n\r", "\x7f\x85", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff"):
        name = f"{allowed.encode('unicode_escape').decode()} is taken"
        r.step(name, "send_message", QueueUrl=url, MessageBody=allowed)
    for refused in ("\0", "\x08", "\x0b", "\x0c", "\x1f", "\ufffe", "\uffff"):
        name = f"{refused.encode('unicode_escape').decode()} is refused"
        r.step(name, "send_message", QueueUrl=url, MessageBody=f"a{refused}b")
    r.step("a lone surrogate", "send_message", QueueUrl=url, MessageBody="a\ud800b")


@case
def sizes(r):
    url = r.queue()
    r.step("1 MiB", "send_message", QueueUrl=url, MessageBody="x" * MIB)
    r.step("1 MiB of two-byte letters", "send_message", QueueUrl=url, MessageBody="é" * (MIB // 2))
    r.step("a byte more", "send_message", QueueUrl=url, MessageBody="x" * (MIB + 1))
    attribute = {"a": text("x")}
    body = "x" * (MIB - 8)
    r.step("1 MiB with an attribute", "send_message", QueueUrl=url, MessageBody=body, MessageAttributes=attribute)
    r.step("a byte more with it", "send_message", QueueUrl=url, MessageBody=body + "x", MessageAttributes=attribute)
    small = r.queue("small", MaximumMessageSize="1024")
    r.step("the queue's own limit", "send_message", QueueUrl=small, MessageBody="x" * 1024)
    r.step("past the queue's own limit", "send_message", QueueUrl=small, MessageBody="x" * 1025)
    half = {"MessageBody": "x" * (MIB // 2)}
    r.step("a batch of 1 MiB", "send_message_batch", QueueUrl=url, Entries=ids([half, half]))
    more = [half, half, {"MessageBody": "x"}]
    r.step("a batch of a byte more", "send_message_batch", QueueUrl=url, Entries=ids(more))


@case
def send_batch(r):
    url = r.queue()
    ten = ids({"MessageBody": f"body {index}"} for index in range(10))
    r.step("ten", "send_message_batch", QueueUrl=url, Entries=ten)
    r.note("how many arrived", r.counts(url)[0])
    r.step("none", "send_message_batch", QueueUrl=url, Entries=[])
    r.step("eleven", "send_message_batch", QueueUrl=url, Entries=ids([{"MessageBody": "x"}] * 11))
    twice = [{"Id": "a", "MessageBody": "x"}] * 2
    r.step("an id twice", "send_message_batch", QueueUrl=url, Entries=twice)
    for bad in ("a b", "x" * 81, "é"):
        entries = [{"Id": bad, "MessageBody": "x"}]
        r.step(f"the id {bad[:3]}", "send_message_batch", QueueUrl=url, Entries=entries)
    mixed = ids([{"MessageBody": "good"}, {"MessageBody": "a\x00b"}])
    r.step("one refused character", "send_message_batch", QueueUrl=url, Entries=mixed)
    with_attributes = ids([{"MessageBody": "x", "MessageAttributes": {"a": text("x")}}])
    r.step("attributes", "send_message_batch", QueueUrl=url, Entries=with_attributes)
    r.step("to no queue", "send_message_batch", QueueUrl=url + "-none", Entries=ten)


@case
def receive_limits(r):
    url = r.queue()
    r.step("an empty queue", "receive_message", QueueUrl=url)
    r.sqs.send_message_batch(QueueUrl=url, Entries=ids([{"MessageBody": "x"}] * 10))
    r.sqs.send_message_batch(QueueUrl=url, Entries=ids([{"MessageBody": "x"}] * 2))
    r.note("without a number", len(r.receive(url)))
    r.note("ten", len(r.receive(url, MaxNumberOfMessages=10)))
    refusing = r.queue("refusing")
    for name, value in (
        ("MaxNumberOfMessages", 0),
        ("MaxNumberOfMessages", 11),
        ("WaitTimeSeconds", 21),
        ("WaitTimeSeconds", -1),
        ("VisibilityTimeout", 43201),
        ("VisibilityTimeout", -1),
    ):
        r.step(f"{name} {value}", "receive_message", QueueUrl=refusing, **{name: value})
    r.step("from no queue", "receive_message", QueueUrl=url + "-none")


@case
def receive_filters(r):
    url = r.queue()
    several = {"Hello": text("There"), "General": text("Kenobi"), "Help.Me": text("Me")}
    r.sqs.send_message(QueueUrl=url, MessageBody="msg", MessageAttributes=several)
    for names in ([], ["All"], [".*"], ["Hello"], ["Hello", "none"], ["Hel.*"], ["none"], ["all"]):
        step = f"message attributes {' '.join(names) or 'not asked for'}"
        r.step(step, "receive_message", QueueUrl=url, VisibilityTimeout=0, MessageAttributeNames=names)
    for names in ([], ["All"], ["SentTimestamp"], ["SenderId", "ApproximateReceiveCount"], ["Nonsense"]):
        step = f"system attributes {' '.join(names) or 'not asked for'}"
        r.step(step, "receive_message", QueueUrl=url, VisibilityTimeout=0, MessageSystemAttributeNames=names)
    r.step("by the older name", "receive_message", QueueUrl=url, VisibilityTimeout=0, AttributeNames=["SentTimestamp"])


@case
def long_poll(r):
    url = r.queue()
    started = time.monotonic()
    r.step("an empty queue", "receive_message", QueueUrl=url, WaitTimeSeconds=1)
    r.note("waits as long as asked", 0.9 < time.monotonic() - started < 3)
    sender = threading.Timer(0.5, lambda: r.sqs.send_message(QueueUrl=url, MessageBody="x"))
    sender.start()
    started = time.monotonic()
    r.step("a send while it waits", "receive_message", QueueUrl=url, WaitTimeSeconds=10, VisibilityTimeout=1)
    r.note("is woken by a send", time.monotonic() - started < 5)
    started = time.monotonic()
    r.step("a visibility timeout while it waits", "receive_message", QueueUrl=url, WaitTimeSeconds=10)
    r.note("is woken by a visibility timeout", time.monotonic() - started < 5)
    r.sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    started = time.monotonic()
    r.step("a delay while it waits", "receive_message", QueueUrl=url, WaitTimeSeconds=10)
    r.note("is woken by the end of a delay", time.monotonic() - started < 5)
    waiting = r.queue("by-attribute", ReceiveMessageWaitTimeSeconds="1")
    started = time.monotonic()
    r.receive(waiting)
    r.note("waits as long as the queue says", 0.9 < time.monotonic() - started < 3)
    started = time.monotonic()
    r.receive(waiting, WaitTimeSeconds=0)
    r.note("does not wait where asked not to", time.monotonic() - started < 0.9)


@case
def visibility(r):
    url = r.queue(VisibilityTimeout="2")
    r.sqs.send_message(QueueUrl=url, MessageBody="x")
    names = ["ApproximateReceiveCount", "SentTimestamp", "ApproximateFirstReceiveTimestamp"]
    first = r.receive(url, MessageSystemAttributeNames=names)[0]
    r.step("hidden", "receive_message", QueueUrl=url)
    r.note("counts while hidden", r.counts(url))
    r.note("comes back", within(8, lambda: r.counts(url)[0] == 1))
    second = r.receive(url, MessageSystemAttributeNames=names, VisibilityTimeout=60)[0]
    r.note("the same message", second["MessageId"] == first["MessageId"])
    r.note("another handle", second["ReceiptHandle"] != first["ReceiptHandle"])
    r.note("its count", second["Attributes"]["ApproximateReceiveCount"])
    r.note("the same times", [second["Attributes"][name] == first["Attributes"][name] for name in names[1:]])
    handle = second["ReceiptHandle"]
    change = {"QueueUrl": url, "ReceiptHandle": handle}
    r.step("hide for a minute", "change_message_visibility", **change, VisibilityTimeout=60)
    r.step("hide for too long", "change_message_visibility", **change, VisibilityTimeout=43201)
    r.step("hide for twelve hours in all", "change_message_visibility", **change, VisibilityTimeout=43200)
    r.step("show", "change_message_visibility", **change, VisibilityTimeout=0)
    r.note("shown", r.counts(url))
    r.step("hide what is not in flight", "change_message_visibility", **change, VisibilityTimeout=60)
    bogus = change | {"ReceiptHandle": "bogus"}
    r.step("a bogus handle", "change_message_visibility", **bogus, VisibilityTimeout=60)
    r.step("in no queue", "change_message_visibility", **change | {"QueueUrl": url + "-none"}, VisibilityTimeout=60)


@case
def delete(r):
    url = r.queue()
    r.sqs.send_message(QueueUrl=url, MessageBody="x")
    handle = r.receive(url)[0]["ReceiptHandle"]
    r.step("a message", "delete_message", QueueUrl=url, ReceiptHandle=handle)
    r.step("the same again", "delete_message", QueueUrl=url, ReceiptHandle=handle)
    r.note("nothing is left", r.counts(url))
    r.step("a bogus handle", "delete_message", QueueUrl=url, ReceiptHandle="bogus")
    r.step("no handle", "delete_message", QueueUrl=url, ReceiptHandle="")
    r.step("in no queue", "delete_message", QueueUrl=url + "-none", ReceiptHandle=handle)


@case
def stale_handles(r):
    url = r.queue()
    r.sqs.send_message(QueueUrl=url, MessageBody="x")
    old = r.receive(url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    latest = r.receive(url, VisibilityTimeout=60)[0]["ReceiptHandle"]
    r.step("delete with the old handle", "delete_message", QueueUrl=url, ReceiptHandle=old)
    r.note("the message is kept", r.counts(url))
    r.step("hide with the old handle", "change_message_visibility", QueueUrl=url, ReceiptHandle=old, VisibilityTimeout=9)
    r.step("delete with the latest", "delete_message", QueueUrl=url, ReceiptHandle=latest)
    r.note("the message is gone", r.counts(url))


@case
def partial_failures(r):
    url = r.queue()
    r.sqs.send_message_batch(QueueUrl=url, Entries=ids([{"MessageBody": "x"}] * 2))
    handles = [message["ReceiptHandle"] for message in r.receive(url, MaxNumberOfMessages=10)]
    hide = [{"ReceiptHandle": handle, "VisibilityTimeout": 60} for handle in handles]
    hide.append({"ReceiptHandle": "bogus", "VisibilityTimeout": 60})
    r.step("hide two and a bogus one", "change_message_visibility_batch", QueueUrl=url, Entries=ids(hide))
    delete = ids({"ReceiptHandle": handle} for handle in [*handles, "bogus"])
    r.step("delete two and a bogus one", "delete_message_batch", QueueUrl=url, Entries=delete)
    r.note("both are gone", r.counts(url))
    for call, entry in (
        ("delete_message_batch", {"ReceiptHandle": handles[0]}),
        ("change_message_visibility_batch", {"ReceiptHandle": handles[0], "VisibilityTimeout": 1}),
    ):
        r.step(f"{call}: none", call, QueueUrl=url, Entries=[])
        r.step(f"{call}: eleven", call, QueueUrl=url, Entries=ids([entry] * 11))
        r.step(f"{call}: an id twice", call, QueueUrl=url, Entries=[{"Id": "a", **entry}] * 2)
        r.step(f"{call}: a bad id", call, QueueUrl=url, Entries=[{"Id": "a b", **entry}])


@case
def redrive(r):
    dead, url = r.queue("dead"), r.queue()
    policy = json.dumps({"deadLetterTargetArn": r.arn(dead), "maxReceiveCount": 2})
    r.step("set", "set_queue_attributes", QueueUrl=url, Attributes={"RedrivePolicy": policy})
    r.step("what was set", "get_queue_attributes", QueueUrl=url, AttributeNames=["RedrivePolicy"])
    r.step("its sources", "list_dead_letter_source_queues", QueueUrl=dead)
    sent = r.sqs.send_message(QueueUrl=url, MessageBody="x")
    names = {"MessageSystemAttributeNames": ["All"], "VisibilityTimeout": 0}
    first = r.receive(url, **names)[0]["Attributes"]
    r.receive(url, **names)
    r.note("not delivered a third time", len(r.receive(url, **names)))
    found = r.receive(dead, **names)
    r.note("found in the dead-letter queue", len(found))
    r.note("keeps its id", [message["MessageId"] == sent["MessageId"] for message in found])
    r.note("keeps its time", [message["Attributes"]["SentTimestamp"] == first["SentTimestamp"] for message in found])
    r.note("keeps its count", [message["Attributes"]["ApproximateReceiveCount"] for message in found])
    source = [message["Attributes"].get("DeadLetterQueueSourceArn") == r.arn(url) for message in found]
    r.note("names its source", source)


@case
def move_back(r):
    dead, url, other = r.queue("dead"), r.queue(), r.queue("other")
    arn = r.arn(dead)
    r.step("from what is no dead-letter queue", "start_message_move_task", SourceArn=arn)
    r.step("from no queue", "start_message_move_task", SourceArn=arn + "-none")
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    r.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    sent = r.sqs.send_message(QueueUrl=url, MessageBody="x")
    r.receive(url, VisibilityTimeout=0)
    r.receive(url, VisibilityTimeout=0)
    r.step("to no queue", "start_message_move_task", SourceArn=arn, DestinationArn=arn + "-none")
    r.step("back", "start_message_move_task", SourceArn=arn)
    r.note("it arrives", within(3, lambda: r.counts(url)[0] == 1))
    r.step("the task", "list_message_move_tasks", SourceArn=arn)
    back = r.receive(url, MessageSystemAttributeNames=["All"], VisibilityTimeout=0)
    r.note("under a new id", [message["MessageId"] != sent["MessageId"] for message in back])
    r.note("with a new count", [message["Attributes"]["ApproximateReceiveCount"] for message in back])
    r.receive(url, VisibilityTimeout=0)
    slow = {"SourceArn": arn, "DestinationArn": r.arn(other), "MaxNumberOfMessagesPerSecond": 1}
    r.sqs.send_message_batch(QueueUrl=dead, Entries=ids([{"MessageBody": "x"}] * 10))
    task = r.step("slowly, elsewhere", "start_message_move_task", **slow)
    r.step("two at once", "start_message_move_task", **slow)
    handle = task.get("TaskHandle", "")
    r.step("cancel", "cancel_message_move_task", TaskHandle=handle or "none")
    cancelled = r.step("the cancelled task", "list_message_move_tasks", SourceArn=arn)
    r.note("how many are remembered", len(cancelled.get("Results", [])))
    r.step("cancel nonsense", "cancel_message_move_task", TaskHandle="nonsense")


@case
def delay(r):
    url = r.queue(DelaySeconds="1")
    r.sqs.send_message(QueueUrl=url, MessageBody="the queue's")
    r.sqs.send_message(QueueUrl=url, MessageBody="none", DelaySeconds=0)
    r.note("counts", r.counts(url))
    r.note("what is not delayed", r.bodies(url, MaxNumberOfMessages=10))
    r.note("the delay ends", within(8, lambda: r.counts(url)[0] == 1))
    r.note("what was delayed", r.bodies(url, MaxNumberOfMessages=10))


def _send(r, url, group, body):
    return r.sqs.send_message(
        QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=f"d-{body}"
    )


@case
def fifo(r):
    refusing = r.queue("refusing.fifo", FifoQueue="true")
    send = {"QueueUrl": refusing, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    missing = {name: value for name, value in send.items() if name != "MessageGroupId"}
    r.step("without a group", "send_message", **missing)
    missing = {name: value for name, value in send.items() if name != "MessageDeduplicationId"}
    r.step("without a deduplication id", "send_message", **missing)
    r.step("with a delay", "send_message", **send, DelaySeconds=1)
    r.step("with a group of 129 letters", "send_message", **send | {"MessageGroupId": "x" * 129})
    # So many that numbers which a server draws at random do not grow by chance.
    numbered = r.queue("numbered.fifo", FifoQueue="true")
    numbers = [int(_send(r, numbered, "g", f"n{n}")["SequenceNumber"]) for n in range(12)]
    r.note("sequence numbers grow", numbers == sorted(set(numbers)))
    url = r.queue("q.fifo", FifoQueue="true")
    for group, body in (("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")):
        _send(r, url, group, body)
    received = r.step(
        "the first", "receive_message", QueueUrl=url, MessageSystemAttributeNames=["All"], VisibilityTimeout=60
    )
    r.note("its group is blocked", r.bodies(url, MaxNumberOfMessages=10, VisibilityTimeout=0))
    handle = received["Messages"][0]["ReceiptHandle"]
    r.step("delete it", "delete_message", QueueUrl=url, ReceiptHandle=handle)
    r.note("the group goes on", r.bodies(url, MaxNumberOfMessages=10, VisibilityTimeout=0))


@case
def fifo_expired_handle(r):
    url = r.queue("q.fifo", FifoQueue="true")
    r.sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    handle = r.receive(url, VisibilityTimeout=1)[0]["ReceiptHandle"]
    r.note("comes back", within(8, lambda: r.counts(url)[0] == 1))
    r.step("delete", "delete_message", QueueUrl=url, ReceiptHandle=handle)
    r.note("the message is kept", r.counts(url))


@case
def deduplication(r):
    url = r.queue("q.fifo", FifoQueue="true")
    send = {"QueueUrl": url, "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    first = r.sqs.send_message(**send, MessageBody="one")
    again = r.sqs.send_message(**send, MessageBody="two")
    r.note("the same id", again["MessageId"] == first["MessageId"])
    received = r.receive(url, MaxNumberOfMessages=10)
    r.note("one message", [message["Body"] for message in received])
    r.sqs.delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
    r.sqs.send_message(**send, MessageBody="three")
    r.note("remembered after the delete", r.bodies(url, MaxNumberOfMessages=10))
    r.sqs.send_message(**send | {"MessageDeduplicationId": "e", "MessageGroupId": "h"}, MessageBody="two")
    r.note("another id", r.bodies(url, MaxNumberOfMessages=10))
    by_content = r.queue("content.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for body in ("one", "one", "two"):
        r.sqs.send_message(QueueUrl=by_content, MessageBody=body, MessageGroupId="g")
    r.note("by content", r.bodies(by_content, MaxNumberOfMessages=10))
    entries = ids({"MessageBody": body, "MessageGroupId": "h"} for body in ("b1", "b2", "b1"))
    answer = r.step("a batch by content", "send_message_batch", QueueUrl=by_content, Entries=entries)
    r.note("how many of the batch succeed", len(answer.get("Successful", [])))
    r.note("what arrives of the batch", r.bodies(by_content, MaxNumberOfMessages=10))


@case
def purge(r):
    url = r.queue()
    r.sqs.send_message_batch(QueueUrl=url, Entries=ids([{"MessageBody": "x"}] * 3))
    r.receive(url)
    r.step("purge", "purge_queue", QueueUrl=url)
    r.note("nothing is left", r.counts(url))
    r.step("twice within a minute", "purge_queue", QueueUrl=url)
    r.step("no queue", "purge_queue", QueueUrl=url + "-none")
