"""Ordinary AWS Lambda handlers for an HTTP API. Nothing in them knows millrace."""

import json
import os

ORDERS = {"1": {"id": "1", "item": "tea"}, "2": {"id": "2", "item": "coffee"}}


def handler(event, context):
    match event["routeKey"]:
        case "GET /orders":
            return list(ORDERS.values())  # without a statusCode it is the body of a 200
        case "GET /orders/{id}":
            order = ORDERS.get(event["pathParameters"]["id"])
            return order or answer(404, {"error": "no such order"})
        case "POST /orders":
            order = json.loads(event["body"])
            return answer(201, order | {"by": event["requestContext"]["authorizer"]["lambda"]["user"]})
    return answer(404, {"error": "no such route"})


def answer(status, body):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


def authorize(event, context):
    """A Lambda authorizer with simple responses."""
    token = event["identitySource"][0]
    return {"isAuthorized": token == "Bearer " + os.environ["API_TOKEN"], "context": {"user": "alice"}}


def note(event, context):
    """Takes what was queued: nobody waits for its answer."""
    print("noted", event["body"])
