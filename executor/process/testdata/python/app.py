import json
import logging
import os
import time


class Custom(Exception):
    pass


def deeper(message):
    raise Custom(message)


def handler(event, context):
    do = event.get("do")
    if do == "fail":
        deeper(event["message"])
    elif do == "crash":
        os._exit(1)
    elif do == "exit":
        raise SystemExit(7)
    elif do == "hang":
        time.sleep(1000)
    elif do == "sleep":
        time.sleep(event["ms"] / 1000)
    elif do == "large":
        return "x" * event["size"]
    elif do == "log":
        for line in event["lines"]:
            print(line)
    elif do == "warn":
        logging.getLogger("app").warning("look out, %s", "naïve")
        logging.getLogger("app").info("unseen")
    elif do == "nothing":
        return None
    elif do == "nan":
        return float("nan")
    elif do == "unmarshalable":
        return {1, 2}
    elif do == "remaining":
        return context.get_remaining_time_in_millis()
    elif do == "all":
        return {
            "name": context.function_name, "version": context.function_version, "memory": context.memory_limit_in_mb,
            "group": context.log_group_name, "stream": context.log_stream_name,
            "identity": context.identity.cognito_identity_id, "cwd": os.getcwd(), "tmp": os.environ["TMPDIR"],
            "runtime": os.environ["AWS_EXECUTION_ENV"],
        }
    elif do == "context":
        custom = context.client_context.custom
        return {
            "requestId": context.aws_request_id, "arn": context.invoked_function_arn,
            "traceId": os.environ.get("_X_AMZN_TRACE_ID"), "tenantId": context.tenant_id,
            "clientContext": json.dumps({"custom": custom}, separators=(",", ":")),
        }
    return event


not_callable = 1
