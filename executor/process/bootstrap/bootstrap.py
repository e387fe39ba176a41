"""Runs a Lambda handler written in Python: asks the Runtime API for events, calls the handler, posts answers.

It needs Python 3.8 and nothing but the standard library.
"""

import importlib
import json
import logging
import os
import socket
import sys
import time
import traceback

BASE = "/2018-06-01/runtime/"
ERRORS = "Lambda-Runtime-Function-Error-Type"


class Api:
    """One kept connection to the Runtime API, whose answers always have a Content-Length."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.host = address.encode()
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb", 64 * 1024)

    def exchange(self, method, path, body=b"", headers=()):
        head = [b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (method, (BASE + path).encode(), self.host)]
        head += [b"%s: %s\r\n" % (n.encode(), v.encode("utf-8", "replace")) for n, v in headers]
        if method == b"POST":
            head.append(b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body))
        head.append(b"\r\n")
        if len(body) < 64 * 1024:
            head.append(body)
            self.socket.sendall(b"".join(head))
        else:
            self.socket.sendall(b"".join(head))
            self.socket.sendall(body)
        line = self.input.readline()
        if not line:
            os._exit(1)  # there is nobody to work for
        status = int(line.split(None, 2)[1])
        answer = {}
        while True:
            line = self.input.readline()
            if line in (b"\r\n", b"\n", b""):
                break
            name, _, value = line.partition(b":")
            answer[name.strip().lower()] = value.strip().decode("utf-8", "replace")
        return status, answer, self.input.read(int(answer.get(b"content-length", 0)))


class Fault(Exception):
    """A failure with a type that is not the name of a class."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.message, self.trace = kind, message, list(trace)


class CognitoIdentity:
    def __init__(self, fields):
        self.cognito_identity_id = fields.get("cognitoIdentityId")
        self.cognito_identity_pool_id = fields.get("cognitoIdentityPoolId")


class Client:
    def __init__(self, fields):
        for name in ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"):
            setattr(self, name, fields.get(name))


class ClientContext:
    def __init__(self, fields):
        self.client = Client(fields["client"]) if fields.get("client") else None
        self.custom = fields.get("custom")
        self.env = fields.get("env")


class LambdaContext:
    """What a handler gets beside its event."""

    def __init__(self, headers):
        env = os.environ
        self.aws_request_id = headers.get(b"lambda-runtime-aws-request-id", "")
        self.invoked_function_arn = headers.get(b"lambda-runtime-invoked-function-arn", "")
        self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.tenant_id = headers.get(b"lambda-runtime-aws-tenant-id")
        client = headers.get(b"lambda-runtime-client-context")
        self.client_context = ClientContext(json.loads(client)) if client else None
        self.identity = CognitoIdentity(json.loads(headers.get(b"lambda-runtime-cognito-identity") or "{}"))
        self._deadline = int(headers.get(b"lambda-runtime-deadline-ms", 0))

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message):
        sys.stdout.write(str(message))


class Logs(logging.Handler):
    """Writes log records as Lambda does: a line of text with tabs, or of JSON."""

    request_id = ""

    def __init__(self, as_json):
        super().__init__()
        self.as_json = as_json
        self.formatter = logging.Formatter()

    def emit(self, record):
        try:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            text = record.getMessage()
            if not self.as_json:
                if record.exc_info:
                    text += "\n" + self.formatter.formatException(record.exc_info)
                line = "[%s]\t%s.%03dZ\t%s\t%s" % (record.levelname, stamp, record.msecs, self.request_id, text)
            else:
                fields = {"timestamp": stamp + "Z", "level": record.levelname, "message": text,
                          "logger": record.name, "requestId": self.request_id}
                if record.exc_info and record.exc_info[0]:
                    fields["errorType"] = record.exc_info[0].__name__
                    fields["errorMessage"] = str(record.exc_info[1])
                    fields["stackTrace"] = traceback.format_tb(record.exc_info[2])
                line = json.dumps(fields, ensure_ascii=False, default=str)
            sys.stdout.write(line + "\n")
        except Exception:
            self.handleError(record)


def load(name):
    """Finds the handler that "package/module.function" names."""
    module, dot, function = name.rpartition(".")
    if not dot or not module or not function:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % name)
    try:
        loaded = importlib.import_module(module.replace("/", "."))
    except ImportError as e:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module, e))
    except SyntaxError as e:
        where = ['  File "%s" Line %s\n    %s' % (e.filename, e.lineno, e.text)]
        raise Fault("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module, e), where)
    if not hasattr(loaded, function):
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, module))
    found = getattr(loaded, function)
    if not callable(found):
        raise Fault("Runtime.HandlerNotFound", "Handler '%s' on module '%s' is not callable" % (function, module))
    return found


def describe(error, request_id):
    """The document of a failure, and its type."""
    if isinstance(error, Fault):
        kind, message, trace = error.kind, error.message, error.trace
    else:
        kind, message = type(error).__name__, str(error)
        frames = traceback.extract_tb(error.__traceback__)
        own = {__file__, importlib.__file__, "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"}
        while frames and frames[0].filename in own:
            del frames[0]
        trace = traceback.format_list(frames)
    document = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}
    return encode(document), kind


def encode(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


def report(kind, document, as_json):
    """Tells the log of a failure."""
    if as_json:
        line = document.decode("utf-8", "replace")
    else:
        fields = json.loads(document)
        line = "[ERROR] %s: %s" % (kind, fields["errorMessage"])
        if fields["stackTrace"]:
            line += "\nTraceback (most recent call last):\n" + "".join(fields["stackTrace"]).rstrip("\n")
    print(line)


def serve(api, handler, logs):
    environ, stdout, stderr = os.environ, sys.stdout, sys.stderr
    while True:
        _, headers, body = api.exchange(b"GET", "invocation/next")
        request_id = headers.get(b"lambda-runtime-aws-request-id", "")
        logs.request_id = request_id
        for name, header in (("_X_AMZN_TRACE_ID", b"lambda-runtime-trace-id"), ("TRACEPARENT", b"traceparent")):
            if header in headers:
                environ[name] = headers[header]
            else:
                environ.pop(name, None)
        kind = None
        try:
            try:
                event = json.loads(body)
            except ValueError as e:
                raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e)
            result = handler(event, LambdaContext(headers))
            try:
                answer = encode(result)
            except (TypeError, ValueError, OverflowError, RecursionError) as e:
                raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % e)
        except Exception as e:
            answer, kind = describe(e, request_id)
            report(kind, answer, logs.as_json)
        stdout.flush()
        stderr.flush()
        if kind:
            api.exchange(b"POST", "invocation/" + request_id + "/error", answer, ((ERRORS, kind),))
        else:
            api.exchange(b"POST", "invocation/" + request_id + "/response", answer)


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    logs = Logs(os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON")
    root = logging.getLogger()
    root.addHandler(logs)
    if logs.as_json:
        root.setLevel(os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO"))
    # The code's folder comes first, the runtime's own last, where it can not hide a module of the code.
    home = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.environ["LAMBDA_TASK_ROOT"]] + [p for p in sys.path if p != home] + [home]
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(os.environ["_HANDLER"])
    except Exception as e:
        document, kind = describe(e, "")
        report(kind, document, logs.as_json)
        api.exchange(b"POST", "init/error", document, ((ERRORS, kind),))
        sys.exit(1)
    serve(api, handler, logs)


if __name__ == "__main__":
    main()
