"""How long each page of the console takes over many dead letters, as it is released: pages.py LETTERS"""

import http.cookiejar
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from world import demo

PROGRAM = "target/release/turnstile"
MESSAGES = 1_000
SEED = 1
# How often each page is asked for, and how long it may take.
TIMES = 7
LIMIT = 0.300

# Letters of six kinds over thirty days, nine in ten of which are resolved, each with its claim.
SEEDED = """
SET search_path = turnstile, pg_catalog;
CREATE TEMPORARY TABLE made AS
    SELECT n, sha256(convert_to(n::text, 'UTF8')) AS hash, date_trunc('milliseconds', now() - n * interval '30 days' / :letters) AS at,
           (ARRAY['invalid_version', 'invalid_ip', 'truncated_json', 'missing_field', 'array_body', 'missing_field'])[n % 6 + 1] AS code,
           (ARRAY['app_version', 'ip', NULL, 'user_id', NULL, 'device_type'])[n % 6 + 1] AS field,
           CASE WHEN n % 10 = 0 THEN 'open' WHEN n % 10 < 4 THEN 'discarded' ELSE 'replayed' END AS status,
           (SELECT min(arn) FROM queues) AS queue
    FROM generate_series(1, :letters) n;
INSERT INTO processed_messages (sent_at, message_hash, outcome, message_id, body_hash, received_at, processed_at)
    SELECT at, hash, CASE status WHEN 'replayed' THEN 'loaded' ELSE 'dead_lettered' END, n::text, hash, at, at FROM made;
INSERT INTO dead_letters (message_hash, code, detail, field, sealed_body, message_id, receive_count, sent_at, sent_timestamp,
                          received_at, queue, dead_lettered_at, status, resolved_at, resolved_by)
    SELECT hash, code, 'made up', field, '\\x00', n::text, 3, at, at, at, queue, at, status,
           CASE WHEN status <> 'open' THEN at END, CASE WHEN status <> 'open' THEN 'somebody' END FROM made;
"""


def main(letters):
    with demo(MESSAGES, SEED, PROGRAM) as world:
        begun = time.monotonic()
        # The triggers are those of people and loaders, who write one letter at a time.
        script = f"BEGIN; SET LOCAL session_replication_role = replica;{SEEDED}COMMIT;"
        # As the server does by itself where rows come one after the other.
        script += "VACUUM ANALYZE turnstile.processed_messages, turnstile.dead_letters;"
        subprocess.run(["psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--set=letters={letters}", world.database],
                       input=script, text=True, check=True)
        print(f"{letters:,} letters are made in {time.monotonic() - begun:.0f} s")
        ask = signed_in(world)
        slow = []
        print(f"{'page':48} {'median ms':>10} {'most ms':>8}")
        for page in pages(ask):
            took = []
            for _ in range(TIMES):
                begun = time.monotonic()
                ask(page)
                took.append(time.monotonic() - begun)
            print(f"{shown(page):48} {statistics.median(took) * 1000:10.0f} {max(took) * 1000:8.0f}", flush=True)
            if statistics.median(took) > LIMIT:
                slow.append(shown(page))
        if slow:
            raise SystemExit(f"over {LIMIT * 1000:.0f} ms: {', '.join(slow)}")


def pages(ask):
    letter = ask("/dead-letters/list.ndjson?code=invalid_ip&status=open").split(b'"hash":"')[1][:64].decode()
    for page in ["/", "/loaders", "/costs", "/dead-letters", "/dead-letters?status=open", "/dead-letters/list", "/dead-letters/all?status=open&code=invalid_ip",
                 "/dead-letters/list?status=all&sort=oldest", "/dead-letters/list?code=invalid_ip&since=7d",
                 "/dead-letters/list?field=user_id&status=discarded", f"/dead-letters/{letter}", "/plans", "/plans/1", "/outbox",
                 "/audit", f"/audit?message={letter}", "/actions", "/actions?by=nobody", "/check"]:
        yield page
        path, _, query = ("/now" if page == "/" else page).partition("?")
        yield f"{path}.json" + (f"?{query}" if query else "")


def shown(page):
    return page if len(page) <= 48 else page[:45] + "…"


def signed_in(world):
    """Asks for pages as somebody who has signed in."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    address = world.address.rstrip("/").replace("localhost", "127.0.0.1")

    def ask(page, fields=None):
        data = urllib.parse.urlencode(fields).encode() if fields else None
        request = urllib.request.Request(address + page, data, {"Sec-Fetch-Site": "same-origin"})
        with opener.open(request) as answer:
            if answer.url.startswith(f"{address}/sign-in"):
                raise SystemExit("the session is over")
            return answer.read()

    ask("/sign-in", {"role": world.role, "password": world.password})
    return ask


if __name__ == "__main__":
    main(int(sys.argv[1]))
