"""An ordinary AWS Lambda handler for S3 notifications. Nothing in it knows millrace."""

from urllib.parse import unquote_plus


def handler(event, context):
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = unquote_plus(record["s3"]["object"]["key"])
        if record["s3"]["object"].get("size") == 0:
            raise ValueError(f"{key} is empty")  # tried again twice, then given up
        print(record["eventName"], bucket, key)
