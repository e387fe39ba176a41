"""A walk through all services of the local stack with boto3. AWS_ENDPOINT_URL says where; nothing else is set up."""

import datetime
import hashlib
import json
import time
import urllib.request
import uuid

import boto3
from botocore.exceptions import ClientError

run = uuid.uuid4().hex[:8]


def name(what):
    return f"{run}-{what}"


def eventually(f):
    for _ in range(200):
        got = f()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError(f"nothing from {f}")


def refused(code, f, **arguments):
    try:
        f(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e.response
        return e.response
    raise AssertionError(f"accepted, not refused with {code}")


sqs, sns, kinesis, dynamodb, streams, s3, events, scheduler = (
    boto3.client(s) for s in ("sqs", "sns", "kinesis", "dynamodb", "dynamodbstreams", "s3", "events", "scheduler")
)


def queue(what, **attributes):
    url = sqs.create_queue(QueueName=name(what), Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def one(url):
    """Receive one message and delete it."""
    m = eventually(lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, AttributeNames=["All"], MessageAttributeNames=["All"]).get("Messages"))[0]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
    return m


def walk_sqs():
    url, _ = queue("q")
    attributes = {"n": {"DataType": "Number", "StringValue": "1"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="grüße", MessageAttributes=attributes)
    assert sent["MD5OfMessageBody"] == hashlib.md5("grüße".encode()).hexdigest()
    m = one(url)
    assert m["Body"] == "grüße" and m["MessageAttributes"]["b"]["BinaryValue"] == b"\x00\xff", m
    assert m["Attributes"]["ApproximateReceiveCount"] == "1"
    batch = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": str(i)} for i in range(10)])
    assert len(batch["Successful"]) == 10 and "Failed" not in batch
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName=name("gone"))
    fifo, _ = queue("q.fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for body in "123":
        sqs.send_message(QueueUrl=fifo, MessageBody=body, MessageGroupId="g")
    got = sqs.receive_message(QueueUrl=fifo, MaxNumberOfMessages=10)["Messages"]
    assert [m["Body"] for m in got] == ["1", "2", "3"], got


def walk_sns():
    topic = sns.create_topic(Name=name("t"))["TopicArn"]
    url, arn = queue("sns")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": json.dumps({"a": ["x"]})})
    sns.publish(TopicArn=topic, Message="no")
    sns.publish(TopicArn=topic, Message="yes", MessageAttributes={"a": {"DataType": "String", "StringValue": "x"}})
    assert json.loads(one(url)["Body"])["Message"] == "yes"
    refused("NotFound", sns.publish, TopicArn=topic + "gone", Message="x")


def walk_kinesis():
    stream = name("s")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    put = kinesis.put_record(StreamName=stream, PartitionKey="k", Data=b"\x00data")
    it = kinesis.get_shard_iterator(StreamName=stream, ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    records = eventually(lambda: kinesis.get_records(ShardIterator=it)["Records"])
    assert records[0]["Data"] == b"\x00data" and records[0]["SequenceNumber"] == put["SequenceNumber"], records
    assert isinstance(records[0]["ApproximateArrivalTimestamp"], datetime.datetime)
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    eventually(lambda: kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE")
    subscription = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=put["ShardId"], StartingPosition={"Type": "TRIM_HORIZON"})["EventStream"]
    for e in subscription:
        if e["SubscribeToShardEvent"]["Records"]:
            assert e["SubscribeToShardEvent"]["Records"][0]["Data"] == b"\x00data", e
            break
    subscription.close()
    refused("ResourceNotFoundException", kinesis.put_record, StreamName=name("gone"), PartitionKey="k", Data=b"x")


def walk_dynamodb():
    table = boto3.resource("dynamodb").create_table(
        TableName=name("t"), BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    table.wait_until_exists()
    table.put_item(Item={"pk": "a", "n": 1, "set": {"x", "y"}, "bytes": b"\x00", "map": {"list": [1, None, True]}})
    item = table.get_item(Key={"pk": "a"})["Item"]
    assert item["set"] == {"x", "y"} and item["map"] == {"list": [1, None, True]} and bytes(item["bytes"]) == b"\x00", item
    table.update_item(Key={"pk": "a"}, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": 1})
    assert table.get_item(Key={"pk": "a"})["Item"]["n"] == 2
    failed = refused(
        "ConditionalCheckFailedException", dynamodb.put_item, TableName=table.name, Item={"pk": {"S": "a"}},
        ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    assert failed["Item"]["pk"] == {"S": "a"}, failed
    arn = dynamodb.describe_table(TableName=table.name)["Table"]["LatestStreamArn"]

    def changes():
        for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
            it = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            if len(records := streams.get_records(ShardIterator=it)["Records"]) == 2:
                return records

    records = eventually(changes)
    assert [r["eventName"] for r in records] == ["INSERT", "MODIFY"], records
    assert records[1]["dynamodb"]["OldImage"]["n"] == {"N": "1"}, records


def walk_s3():
    bucket = name("b")
    s3.create_bucket(Bucket=bucket)
    url, arn = queue("s3")
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    )
    assert json.loads(one(url)["Body"])["Event"] == "s3:TestEvent"
    s3.put_object(Bucket=bucket, Key="a b+ü.txt", Body=b"hello", Metadata={"k": "v"})
    got = s3.get_object(Bucket=bucket, Key="a b+ü.txt")
    assert got["Body"].read() == b"hello" and got["Metadata"] == {"k": "v"}
    record = json.loads(one(url)["Body"])["Records"][0]
    assert record["eventName"] == "ObjectCreated:Put" and record["s3"]["object"]["key"] == "a+b%2B%C3%BC.txt", record
    s3.upload_fileobj(open(__file__, "rb"), bucket, "file")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b+ü.txt"})
    with urllib.request.urlopen(presigned) as r:
        assert r.read() == b"hello"
    keys = [o["Key"] for p in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1}) for o in p["Contents"]]
    assert keys == ["a b+ü.txt", "file"], keys
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="gone")
    refused("404", s3.head_object, Bucket=bucket, Key="gone")


def walk_events():
    bus = name("bus")
    events.create_event_bus(Name=bus)
    url, arn = queue("events")
    events.put_rule(Name=name("r"), EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": "my."}]}))
    out = events.put_targets(Rule=name("r"), EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
    assert out["FailedEntryCount"] == 0, out
    out = events.put_events(Entries=[{"EventBusName": bus, "Source": "my.app", "DetailType": "T", "Detail": '{"a":1}'}, {"DetailType": "T", "Detail": "{}"}])
    assert out["FailedEntryCount"] == 1 and out["Entries"][1]["ErrorCode"] == "InvalidArgument", out
    event = json.loads(one(url)["Body"])
    assert event["id"] == out["Entries"][0]["EventId"] and event["detail"] == {"a": 1}, event
    refused("InvalidEventPatternException", events.put_rule, Name=name("bad"), EventPattern='{"a":1}')


def walk_scheduler():
    url, arn = queue("scheduler")
    at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    scheduler.create_schedule(
        Name=name("once"), ScheduleExpression=at, FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": "arn:aws:iam::000000000000:role/r", "Input": '{"now": true}'},
    )
    assert scheduler.get_schedule(Name=name("once"))["ScheduleExpression"] == at
    assert json.loads(one(url)["Body"]) == {"now": True}
    refused("ValidationException", scheduler.create_schedule, Name=name("bad"), ScheduleExpression="rate(1 year)", FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": arn, "RoleArn": "arn:aws:iam::000000000000:role/r"})


for walk in (walk_sqs, walk_sns, walk_kinesis, walk_dynamodb, walk_s3, walk_events, walk_scheduler):
    walk()
    print(walk.__name__, "passes")
