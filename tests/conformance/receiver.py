"""A receiver of events: checks each signature and each event with the libraries of Standard Webhooks and CloudEvents."""

import contextlib
import http.server
import json
import threading

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

# The published example of Standard Webhooks.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STRUCTURED = "application/cloudevents+json"


@contextlib.contextmanager
def running():
    """Yields its address. GET tells what came by POST to the same path: the ids, and what was wrong."""
    seen = {}

    class Receiver(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            came = seen.setdefault(self.path, {"ids": [], "problems": []})
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                Webhook(SECRET).verify(body, {name.lower(): value for name, value in self.headers.items()})
                came["ids"] += [event.get_id() for event in events_of(self.headers["content-type"], body)]
                self.answer(204, b"")
            except Exception as error:
                came["problems"].append(f"{type(error).__name__}: {error}")
                self.answer(422, b"")

        def do_GET(self):
            self.answer(200, json.dumps(seen.get(self.path, {"ids": [], "problems": []})).encode())

        def answer(self, status, body):
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def events_of(content_type, body):
    """The library reads single events; a list is one of them after the other."""
    kind = content_type.split(";")[0]
    match kind:
        case "application/cloudevents+json":
            bodies = [body]
        case "application/cloudevents-batch+json":
            bodies = [json.dumps(event).encode() for event in json.loads(body)]
        case _:
            raise ValueError(f"unknown content type {content_type}")
    return [from_http_event(HTTPMessage({"content-type": STRUCTURED}, body)) for body in bodies]
