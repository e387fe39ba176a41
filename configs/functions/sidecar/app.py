"""A web application that takes its events from a hub beside it, by HTTP."""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = os.environ["WEBHOOK_SECRET"].encode()


def signed(headers, body):
    """Whether the hub has signed this (standardwebhooks.com)."""
    message_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "0")
    if not sent.isdigit() or abs(time.time() - int(sent)) > 300:
        return False
    mac = hmac.new(SECRET, f"{message_id}.{sent}.".encode() + body, hashlib.sha256).digest()
    want = "v1," + base64.b64encode(mac).decode()
    return any(hmac.compare_digest(want, given) for given in headers.get("webhook-signature", "").split())


class Events(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not signed(self.headers, body):
            self.send_error(403)
            return
        event = json.loads(body)
        print(self.headers["webhook-id"], event)
        answer = json.dumps({"taken": len(event.get("Records", []))}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


HTTPServer(("127.0.0.1", 3000), Events).serve_forever()
