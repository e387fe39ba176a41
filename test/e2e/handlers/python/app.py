def handler(event, context):
    print("python saw", context.aws_request_id)
    if event.get("do") == "fail":
        raise ValueError("asked to fail")
    return {"from": "python", "id": context.aws_request_id, "arn": context.invoked_function_arn, "event": event}
