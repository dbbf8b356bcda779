"""Where a stand-in contradicts AWS's documentation: the step, the documented answer, who differs, and the source.

Pages are those of the SQS API Reference (API_…), of the Developer Guide and of AWS re:Post's knowledge center.
"""

import typing

MOTO, MINISTACK, BOTH = ("moto",), ("ministack",), ("moto", "ministack")
DOCUMENTED = {}


class Documented(typing.NamedTuple):
    answer: object
    differ: tuple
    page: str
    says: str


def documented(case, differ, page, says, answers):
    for step, answer in answers.items():
        assert (case, step) not in DOCUMENTED
        DOCUMENTED[case, step] = Documented(answer, differ, page, says)


def refused(code):
    return {"class": "4xx", "error": code}


MISSING = refused("MissingParameter")
INVALID = refused("InvalidParameterValue")
BAD_NAME = refused("InvalidAttributeName")
BAD_VALUE = refused("InvalidAttributeValue")
BAD_CHARACTER = refused("InvalidMessageContents")
NO_RESOURCE = refused("ResourceNotFoundException")


def all_attributes(**own):
    counts = dict.fromkeys(("", "Delayed", "NotVisible"), "0")
    return {
        "Attributes": {f"ApproximateNumberOfMessages{name}": count for name, count in counts.items()}
        | {
            "CreatedTimestamp": "<time>",
            "DelaySeconds": "0",
            "LastModifiedTimestamp": "<time>",
            "MaximumMessageSize": "1048576",
            "MessageRetentionPeriod": "345600",
            "ReceiveMessageWaitTimeSeconds": "0",
            "SqsManagedSseEnabled": "true",
        }
        | own
    }


# Queues.
documented("create", MOTO, "CommonErrors", "MissingParameter: a required parameter is missing.", {"without a name": MISSING})
documented(
    "create",
    MINISTACK,
    "API_CreateQueue",
    "A queue name can have up to 80 characters. Valid values: alphanumeric characters, hyphens, and underscores.",
    {"a name with a space": INVALID, "a name of 81 letters": INVALID},
)
documented(
    "create",
    BOTH,
    "API_CreateQueue",
    "If you don't specify the FifoQueue attribute, Amazon SQS creates a standard queue; a standard queue's name takes "
    "no period.",
    {"a FIFO name without the attribute": INVALID},
)
documented(
    "create",
    BOTH,
    "API_CreateQueue",
    "InvalidAttributeName: the specified attribute doesn't exist.",
    {"an unknown attribute": BAD_NAME},
)
documented(
    "create",
    MOTO,
    "API_CreateQueue",
    "InvalidAttributeValue: a queue attribute value is invalid; the limits stand with each attribute.",
    {
        "VisibilityTimeout 43201": BAD_VALUE,
        "DelaySeconds 901": BAD_VALUE,
        "MessageRetentionPeriod 59": BAD_VALUE,
        "ReceiveMessageWaitTimeSeconds 21": BAD_VALUE,
        "VisibilityTimeout soon": BAD_VALUE,
    },
)
documented(
    "list-queues",
    MOTO,
    "API_ListQueues",
    "QueueUrls: a list of queue URLs, up to 1,000 entries.",
    {"by the prefix of none": {"QueueUrls": []}},
)
documented(
    "delete-queue",
    BOTH,
    "API_DeleteQueue",
    "When you delete a queue, you must wait at least 60 seconds before creating a queue with the same name.",
    {"create it again at once": refused("AWS.SimpleQueueService.QueueDeletedRecently")},
)
documented(
    "attributes",
    MINISTACK,
    "API_GetQueueAttributes",
    "All: returns all values, among them SqsManagedSseEnabled, DeduplicationScope and FifoThroughputLimit.",
    {
        "all": all_attributes(QueueArn="<arn>:attributes", VisibilityTimeout="7"),
        "all of a FIFO queue": all_attributes(
            ContentBasedDeduplication="false",
            DeduplicationScope="queue",
            FifoQueue="true",
            FifoThroughputLimit="perQueue",
            QueueArn="<arn>:attributes-x.fifo",
            VisibilityTimeout="30",
        ),
    },
)
documented(
    "attributes",
    MINISTACK,
    "API_GetQueueAttributes",
    "If you don't specify values for this parameter, the request returns empty results.",
    {"none": {}},
)
documented(
    "attributes",
    MINISTACK,
    "API_GetQueueAttributes",
    "InvalidAttributeName: the specified attribute doesn't exist.",
    {"an unknown one": BAD_NAME},
)
documented(
    "attributes",
    BOTH,
    "API_GetQueueAttributes",
    "InvalidAttributeName: the specified attribute doesn't exist; FifoQueue applies only to FIFO queues.",
    {"FifoQueue of a standard queue": BAD_NAME},
)
documented(
    "attributes",
    BOTH,
    "API_SetQueueAttributes",
    "InvalidAttributeName: the specified attribute doesn't exist.",
    {"set an unknown one": BAD_NAME},
)
documented(
    "attributes",
    MOTO,
    "API_SetQueueAttributes",
    "DelaySeconds: an integer from 0 to 900 (15 minutes).",
    {"set too much": BAD_VALUE},
)
documented(
    "attributes",
    BOTH,
    "API_SetQueueAttributes, CommonErrors",
    "The dead-letter queue of a FIFO queue must also be a FIFO queue; deadLetterTargetArn is the ARN of the queue to "
    "which messages move. InvalidParameterValue: a value that is out of range was supplied.",
    {"redrive to no queue": INVALID, "redrive to another kind": INVALID, "redrive after 0 receives": INVALID},
)

# Sends.
documented(
    "send",
    BOTH,
    "API_SendMessage",
    "MD5OfMessageSystemAttributes: an MD5 digest of the non-URL-encoded message system attribute string.",
    {
        "a trace header": {
            "MD5OfMessageBody": "9dd4e461268c8034f5c8564e155c67a6",
            "MD5OfMessageSystemAttributes": "62a56dd927315f2b2e12832b84617ea5",
            "MessageId": "<id>",
        }
    },
)
documented(
    "send",
    BOTH,
    "Developer Guide, Amazon SQS message quotas",
    "A message can contain up to 10 metadata attributes.",
    {"eleven attributes": INVALID},
)
documented(
    "send",
    BOTH,
    "Developer Guide, Amazon SQS message attributes",
    "The name must not start with AWS-reserved prefixes or with a period; the value must not be empty; a Number is a "
    "number.",
    {
        "the attribute AWS.reserved String": INVALID,
        "the attribute .dot String": INVALID,
        "the attribute empty String": INVALID,
        "the attribute number Number": INVALID,
    },
)
documented(
    "send",
    MINISTACK,
    "Developer Guide, Amazon SQS message attributes",
    "The name can contain A-Z, a-z, 0-9, underscore, hyphen and period; the type is String, Number or Binary.",
    {
        "the attribute a b String": INVALID,
        "the attribute type Nonsense": INVALID,
        "the attribute untyped ": INVALID,
    },
)
documented("send", MOTO, "API_SendMessage", "The minimum size is one character.", {"an empty body": MISSING})
documented("send", MINISTACK, "API_SendMessage", "DelaySeconds: valid values 0 to 900.", {"a delay of 901 s": INVALID})
documented(
    "send",
    BOTH,
    "API_SendMessage",
    "MessageDeduplicationId: this parameter applies only to FIFO (first-in-first-out) queues.",
    {"a deduplication id": INVALID},
)
documented(
    "characters",
    MOTO,
    "API_SendMessage",
    "If a message contains characters outside the allowed set, Amazon SQS rejects the message and returns an "
    "InvalidMessageContents error.",
    {
        f"{name} is refused": BAD_CHARACTER
        for name in ("\\x00", "\\x08", "\\x0b", "\\x0c", "\\x1f", "\\ufffe", "\\uffff")
    }
    | {"a lone surrogate": BAD_CHARACTER},
)
documented(
    "sizes",
    BOTH,
    "Developer Guide, Amazon SQS message attributes",
    "The Name, Type and Value of a message attribute are part of the message size restriction.",
    {"a byte more with it": INVALID},
)
documented(
    "send-batch",
    MOTO,
    "API_SendMessageBatchRequestEntry",
    "Id: alphanumeric characters, hyphens (-), and underscores (_).",
    {"the id é": refused("AWS.SimpleQueueService.InvalidBatchEntryId")},
)
documented(
    "send-batch",
    MOTO,
    "API_SendMessageBatch",
    "If a message contains characters outside the allowed set, Amazon SQS rejects the message and returns an "
    "InvalidMessageContents error. The result of sending each message is reported individually in the response.",
    {
        "one refused character": {
            "Failed": [{"Code": "InvalidMessageContents", "Id": "1", "SenderFault": True}],
            "Successful": [
                {"Id": "0", "MD5OfMessageBody": "755f85c2723bb39381c7379a604160d8", "MessageId": "<id>"}
            ],
        }
    },
)

# Receives.
documented(
    "receive-limits",
    MINISTACK,
    "API_ReceiveMessage, Developer Guide (long polling)",
    "The maximum long polling wait time is 20 seconds; the visibility timeout is 0 seconds to 12 hours.",
    {"WaitTimeSeconds 21": INVALID, "WaitTimeSeconds -1": INVALID, "VisibilityTimeout 43201": INVALID},
)
documented(
    "receive-limits",
    BOTH,
    "Developer Guide, Amazon SQS visibility timeout",
    "The minimum is 0 seconds.",
    {"VisibilityTimeout -1": INVALID},
)
documented(
    "receive-filters",
    BOTH,
    "API_ReceiveMessage",
    "MessageSystemAttributeNames: valid values are the names listed there, and All.",
    {"system attributes Nonsense": BAD_NAME},
)

# Handles.
documented(
    "visibility",
    MINISTACK,
    "API_ChangeMessageVisibility",
    "If you attempt to set the VisibilityTimeout to a value greater than the maximum time left, Amazon SQS returns an "
    "error.",
    {"hide for too long": INVALID, "hide for twelve hours in all": INVALID},
)
documented(
    "visibility",
    BOTH,
    "API_ChangeMessageVisibility",
    "MessageNotInflight: the specified message isn't in flight.",
    {"hide what is not in flight": refused("AWS.SimpleQueueService.MessageNotInflight")},
)
documented(
    "delete",
    MINISTACK,
    "API_DeleteMessage",
    "If you use an old ReceiptHandle, the request will succeed, but the message might not be deleted.",
    {"the same again": {}},
)
documented("delete", MOTO, "CommonErrors", "MissingParameter: a required parameter is missing.", {"no handle": MISSING})
documented(
    "stale-handles",
    MINISTACK,
    "API_DeleteMessage",
    "If you use an old ReceiptHandle, the request will succeed, but the message might not be deleted.",
    {"delete with the old handle": {}},
)
documented(
    "stale-handles",
    MOTO,
    "API_DeleteMessage",
    "You must use the ReceiptHandle from the most recent time you received the message. If you use an old one, the "
    "message might not be deleted (here: is not).",
    {"the message is kept": [0, 1, 0]},
)
documented(
    "stale-handles",
    BOTH,
    "re:Post, Troubleshoot ReceiptHandleIsInvalid and InvalidParameterValue errors",
    "Using an older receipt handle can result in an InvalidParameterValue error; ReceiptHandleIsInvalid is for an "
    "incorrect one.",
    {"hide with the old handle": INVALID},
)
BATCH_RULES = {
    "none": refused("AWS.SimpleQueueService.EmptyBatchRequest"),
    "eleven": refused("AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
    "an id twice": refused("AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
    "a bad id": refused("AWS.SimpleQueueService.InvalidBatchEntryId"),
}
documented(
    "partial-failures",
    MOTO,
    "API_DeleteMessageBatch",
    "TooManyEntriesInBatchRequest, InvalidBatchEntryId: the batch breaks a rule for batches.",
    {f"delete_message_batch: {rule}": BATCH_RULES[rule] for rule in ("eleven", "a bad id")},
)
documented(
    "partial-failures",
    MOTO,
    "API_ChangeMessageVisibilityBatch",
    "EmptyBatchRequest, TooManyEntriesInBatchRequest, BatchEntryIdsNotDistinct, InvalidBatchEntryId: the batch breaks "
    "a rule for batches.",
    {f"change_message_visibility_batch: {rule}": answer for rule, answer in BATCH_RULES.items()},
)

# Dead letters.
documented(
    "redrive",
    MINISTACK,
    "API_ListDeadLetterSourceQueues",
    "Returns a list of your queues that have the RedrivePolicy queue attribute configured with a dead-letter queue.",
    {"its sources": {"queueUrls": ["<url>/redrive"]}},
)
documented(
    "redrive",
    MOTO,
    "API_ReceiveMessage, MessageSystemAttributeName",
    "DeadLetterQueueSourceArn: the queue from which a message came to its dead-letter queue.",
    {"names its source": [True]},
)
documented(
    "move-back",
    BOTH,
    "API_StartMessageMoveTask",
    "Only ARNs of dead-letter queues whose sources are other Amazon SQS queues are accepted; if DestinationArn is left "
    "blank, the messages are redriven to their source queues; one active task per queue. ResourceNotFoundException: "
    "one or more specified resources don't exist.",
    {
        "from what is no dead-letter queue": INVALID,
        "from no queue": NO_RESOURCE,
        "to no queue": NO_RESOURCE,
        "back": {"TaskHandle": "<task>"},
        "it arrives": True,
        "slowly, elsewhere": {"TaskHandle": "<task>"},
        "two at once": INVALID,
    },
)
documented(
    "move-back",
    BOTH,
    "Developer Guide, Configure a dead-letter queue redrive",
    "Redriven messages are considered new messages with a new messageID and enqueueTime.",
    {"under a new id": [True], "with a new count": ["1"]},
)
documented(
    "move-back",
    BOTH,
    "API_ListMessageMoveTasks",
    "TaskHandle is only populated for tasks that are in RUNNING status; MaxResults: the default is 1, the most recent.",
    {
        "the task": {
            "Results": [
                {
                    "ApproximateNumberOfMessagesMoved": 1,
                    "ApproximateNumberOfMessagesToMove": 1,
                    "SourceArn": "<arn>:move-back-dead",
                    "StartedTimestamp": "<time>",
                    "Status": "COMPLETED",
                }
            ]
        },
        "the cancelled task": {
            "Results": [
                {
                    "ApproximateNumberOfMessagesMoved": 0,
                    "ApproximateNumberOfMessagesToMove": 11,
                    "DestinationArn": "<arn>:move-back-other",
                    "MaxNumberOfMessagesPerSecond": 1,
                    "SourceArn": "<arn>:move-back-dead",
                    "StartedTimestamp": "<time>",
                    "Status": "CANCELLED",
                }
            ]
        },
        "how many are remembered": 1,
    },
)
documented(
    "move-back",
    BOTH,
    "API_CancelMessageMoveTask",
    "Cancels a specified message movement task; it can only stop the messages that have not been moved yet.",
    {"cancel": {"ApproximateNumberOfMessagesMoved": 0}, "cancel nonsense": INVALID},
)

# FIFO queues.
documented(
    "fifo",
    BOTH,
    "API_SendMessage",
    "The length of MessageGroupId is 128 characters.",
    {"with a group of 129 letters": INVALID},
)
documented(
    "fifo",
    MOTO,
    "API_SendMessage",
    "SequenceNumber continues to increase for a particular MessageGroupId.",
    {"sequence numbers grow": True},
)
documented(
    "fifo",
    BOTH,
    "Developer Guide, FIFO delivery logic in Amazon SQS",
    "SQS first attempts to return as many messages with the same message group ID as possible.",
    {"the group goes on": ["a2", "a3", "b1"]},
)
documented(
    "fifo-expired-handle",
    BOTH,
    "re:Post, Troubleshoot ReceiptHandleIsInvalid and InvalidParameterValue errors",
    "For FIFO queues, a receipt handle expires after a visibility timeout period; deleting with it is refused with "
    "InvalidParameterValue.",
    {"delete": INVALID, "the message is kept": [1, 0, 0]},
)
documented(
    "deduplication",
    MOTO,
    "API_SendMessage",
    "Any messages sent with the same MessageDeduplicationId are accepted successfully but aren't delivered during the "
    "5-minute deduplication interval. Amazon SQS continues to keep track of the message deduplication ID even after the "
    "message is received and deleted.",
    {"the same id": True, "remembered after the delete": []},
)
documented(
    "deduplication",
    MOTO,
    "API_SendMessageBatchResultEntry",
    "SequenceNumber: the number that Amazon SQS assigns to each message of a FIFO queue.",
    {
        "a batch by content": {
            "Failed": [],
            "Successful": [
                {"Id": "0", "MD5OfMessageBody": "edbab45572c72a5d9440b40bcc0500c0"},
                {"Id": "1", "MD5OfMessageBody": "fbfba2e45c2045dc5cab22a5afe83d9d"},
                {"Id": "2", "MD5OfMessageBody": "edbab45572c72a5d9440b40bcc0500c0"},
            ],
        }
    },
)
for sent in DOCUMENTED["deduplication", "a batch by content"].answer["Successful"]:
    sent.update(MessageId="<id>", SequenceNumber="<number>")

documented(
    "purge",
    MINISTACK,
    "API_PurgeQueue",
    "PurgeQueueInProgress: the specified queue previously received a PurgeQueue request within the last 60 seconds.",
    {"twice within a minute": refused("AWS.SimpleQueueService.PurgeQueueInProgress")},
)
