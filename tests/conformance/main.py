"""Runs the cases against the local SQS server, moto and ministack, and compares the answers.

Where the stand-ins contradict AWS's documentation the local SQS server follows the documentation: documented.py lists
these steps. Any other difference fails, and so does a listed one that no longer occurs.
"""

import concurrent.futures
import json
import os
import subprocess
import sys

import receiver
import servers
from cases import CASES
from documented import DOCUMENTED
from recorder import Recorder

OTHERS = ("moto", "ministack")
LOADER_TEST = (
    "other_servers::through_every_sqs_server_each_login_becomes_one_row_and_each_bad_body_one_dead_letter"
)
SINK_TESTS = (
    "sinks::elsewhere::through_a_topic_of_another_server_a_queue_gets_every_event",
    "sinks::elsewhere::a_receiver_with_the_libraries_of_both_standards_accepts_every_event",
)
ARCHIVE_TESTS = (
    "archive::s3::in_s3_every_object_is_stored_once_though_replies_are_lost",
    "archive::s3::a_folder_and_a_bucket_hold_the_same_bytes",
)


def main(binary):
    with servers.running(binary) as endpoints:
        with concurrent.futures.ThreadPoolExecutor(len(endpoints)) as pool:
            runs = {name: pool.submit(answers_of, endpoint) for name, endpoint in endpoints.items()}
            answers = {name: run.result() for name, run in runs.items()}
        own = {
            "the loader's own test": loader_passes(endpoints),
            "the sinks' own tests": sinks_pass(endpoints),
            "the archive's own tests": archive_passes(endpoints),
        }
    passed, failures, counts = judge(answers)
    passed += sum(own.values())
    failures += [f"\nFAILED {name}" for name, passes in own.items() if not passes]
    print_table(counts)
    for failure in failures:
        print(failure)
    print(f"\n{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


def loader_passes(endpoints):
    """Whether the loader's test of other servers passes before each of these."""
    return tests_pass([LOADER_TEST], {"TURNSTILE_TEST_SQS_SERVERS": listed(endpoints)})


def sinks_pass(endpoints):
    """Whether events get through a topic, and to a receiver with others' libraries. The local server has no topics."""
    with receiver.running() as address:
        servers = listed({name: endpoints[name] for name in OTHERS})
        return tests_pass(SINK_TESTS, {"TURNSTILE_TEST_SNS_SERVERS": servers, "TURNSTILE_TEST_RECEIVER": address})


def archive_passes(endpoints):
    """Whether an archive in S3 is stored once, whatever replies are lost."""
    return tests_pass(ARCHIVE_TESTS, {"TURNSTILE_TEST_S3_SERVER": endpoints["moto"]})


def listed(endpoints):
    return " ".join(f"{name}={endpoint}" for name, endpoint in endpoints.items())


def tests_pass(tests, variables):
    command = ["cargo", "test", "--quiet", "--locked", "--test", "main", "--", "--ignored", "--exact", *tests]
    ended = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True)
    print(ended.stdout)
    return ended.returncode == 0 and f"{len(tests)} passed" in ended.stdout


def answers_of(endpoint):
    """{(case, step): answer} of one server, case after case."""
    answers = {}
    for name, case in CASES.items():
        recorder = Recorder(name, endpoint)
        try:
            case(recorder)
        except Exception as error:
            recorder.note("the case breaks off", type(error).__name__)
        answers |= {(name, step): answer for step, answer in recorder.answers.items()}
    return answers


def judge(answers):
    """Holds every answer against the others' and against the list of documented differences."""
    passed, failures, counts = 0, [], {}
    ours = answers["turnstile"]
    steps = dict.fromkeys(step for server in answers.values() for step in server)
    for step in steps:
        listed = DOCUMENTED.get(step)
        differ = tuple(other for other in OTHERS if answers[other].get(step) != ours.get(step))
        for other in OTHERS:
            counts.setdefault(step[0], {}).setdefault(other, [0, 0])[other in differ] += 1
        expected = listed.differ if listed else ()
        problems = []
        if listed and ours.get(step) != listed.answer:
            problems.append(f"  documented ({listed.page}): {shown(listed.answer)}")
        problems += [f"  {other} differs, which is not listed" for other in differ if other not in expected]
        problems += [f"  {other} is listed as differing, and agrees" for other in expected if other not in differ]
        if not problems:
            passed += 1
            continue
        lines = [f"\nFAILED {step[0]}: {step[1]}", *problems]
        lines += [f"  {name}: {shown(server.get(step))}" for name, server in answers.items()]
        failures.append("\n".join(lines))
    failures += [f"\nFAILED documented.py lists {step}, which no case has" for step in DOCUMENTED if step not in steps]
    return passed, failures, counts


def shown(answer):
    return json.dumps(answer, sort_keys=True, ensure_ascii=False)[:600]


def print_table(counts):
    print(f"{'case':<22}" + "".join(f"{other:>24}" for other in OTHERS))
    for case, by_server in counts.items():
        cells = (f"{agree} agree, {differ} differ" for agree, differ in by_server.values())
        print(f"{case:<22}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
