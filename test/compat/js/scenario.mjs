// A walk through all services of the local stack with the AWS SDK for JavaScript. AWS_ENDPOINT_URL says where; nothing
// else is set up. The folder of the SDK's modules is the first argument.
import assert from "node:assert/strict"
import { createRequire } from "node:module"
import { randomUUID } from "node:crypto"

const require = createRequire(process.argv[2] + "/")
const sdk = service => require("@aws-sdk/client-" + service)
const run = randomUUID().slice(0, 8)
const name = what => `${run}-${what}`

async function eventually(f) {
  for (let i = 0; i < 200; i++) {
    const got = await f()
    if (got) return got
    await new Promise(done => setTimeout(done, 50))
  }
  throw new Error(`nothing from ${f}`)
}

const { SQS } = sdk("sqs")
const { SNS } = sdk("sns")
const { Kinesis } = sdk("kinesis")
const { DynamoDB } = sdk("dynamodb")
const { DynamoDBStreams } = sdk("dynamodb-streams")
const { S3 } = sdk("s3")
const { EventBridge } = sdk("eventbridge")
const { Scheduler } = sdk("scheduler")
const sqs = new SQS({})

async function queue(what, Attributes) {
  const { QueueUrl } = await sqs.createQueue({ QueueName: name(what), Attributes })
  const { Attributes: { QueueArn } } = await sqs.getQueueAttributes({ QueueUrl, AttributeNames: ["QueueArn"] })
  return [QueueUrl, QueueArn]
}

// one receives a message and deletes it.
async function one(QueueUrl) {
  const [m] = await eventually(async () => (await sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 2, MessageAttributeNames: ["All"] })).Messages)
  await sqs.deleteMessage({ QueueUrl, ReceiptHandle: m.ReceiptHandle })
  return m
}

const refused = (name, promise) => assert.rejects(promise, e => e.name === name || assert.fail(`refused with ${e.name}: ${e.message}`))

const walks = {
  async sqs() {
    const [url] = await queue("q")
    // The SDK checks the digests of bodies.
    await sqs.sendMessage({ QueueUrl: url, MessageBody: "grüße", MessageAttributes: { b: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) } } })
    const m = await one(url)
    assert.equal(m.Body, "grüße")
    assert.deepEqual([...m.MessageAttributes.b.BinaryValue], [0, 255])
    await refused("QueueDoesNotExist", sqs.getQueueUrl({ QueueName: name("gone") }))
    const [fifo] = await queue("q.fifo", { FifoQueue: "true", ContentBasedDeduplication: "true" })
    for (const body of "123") await sqs.sendMessage({ QueueUrl: fifo, MessageBody: body, MessageGroupId: "g" })
    const { Messages } = await sqs.receiveMessage({ QueueUrl: fifo, MaxNumberOfMessages: 10 })
    assert.deepEqual(Messages.map(m => m.Body), ["1", "2", "3"])
  },
  async sns() {
    const sns = new SNS({})
    const { TopicArn } = await sns.createTopic({ Name: name("t") })
    const [url, arn] = await queue("sns")
    await sns.subscribe({ TopicArn, Protocol: "sqs", Endpoint: arn, Attributes: { RawMessageDelivery: "true", FilterPolicy: '{"a":["x"]}' } })
    await sns.publish({ TopicArn, Message: "no" })
    await sns.publishBatch({ TopicArn, PublishBatchRequestEntries: [{ Id: "1", Message: "yes", MessageAttributes: { a: { DataType: "String", StringValue: "x" } } }] })
    assert.equal((await one(url)).Body, "yes")
    await refused("NotFoundException", sns.publish({ TopicArn: TopicArn + "gone", Message: "x" }))
  },
  async kinesis() {
    const kinesis = new Kinesis({})
    const StreamName = name("s")
    await kinesis.createStream({ StreamName, ShardCount: 1 })
    const { StreamARN } = await eventually(async () => {
      const { StreamDescriptionSummary: s } = await kinesis.describeStreamSummary({ StreamName })
      return s.StreamStatus === "ACTIVE" && s
    })
    const { ShardId } = await kinesis.putRecord({ StreamName, PartitionKey: "k", Data: Buffer.from("data") })
    const { ShardIterator } = await kinesis.getShardIterator({ StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" })
    const [r] = await eventually(async () => {
      const { Records } = await kinesis.getRecords({ ShardIterator })
      return Records.length && Records
    })
    assert.equal(Buffer.from(r.Data).toString(), "data")
    assert(r.ApproximateArrivalTimestamp instanceof Date)
    const { Consumer: { ConsumerARN } } = await kinesis.registerStreamConsumer({ StreamARN, ConsumerName: "c" })
    await eventually(async () => (await kinesis.describeStreamConsumer({ ConsumerARN })).ConsumerDescription.ConsumerStatus === "ACTIVE")
    const { EventStream } = await kinesis.subscribeToShard({ ConsumerARN, ShardId, StartingPosition: { Type: "TRIM_HORIZON" } })
    for await (const e of EventStream) {
      if (e.SubscribeToShardEvent?.Records.length) {
        assert.equal(Buffer.from(e.SubscribeToShardEvent.Records[0].Data).toString(), "data")
        break
      }
    }
    kinesis.destroy()
  },
  async dynamodb() {
    const dynamodb = new DynamoDB({})
    const streams = new DynamoDBStreams({})
    const TableName = name("t")
    await dynamodb.createTable({
      TableName, BillingMode: "PAY_PER_REQUEST", KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }], StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" },
    })
    const { LatestStreamArn: StreamArn } = await eventually(async () => {
      const { Table } = await dynamodb.describeTable({ TableName })
      return Table.TableStatus === "ACTIVE" && Table
    })
    const Item = { pk: { S: "a" }, b: { B: new Uint8Array([0, 1]) }, l: { L: [{ NULL: true }, { M: { n: { N: "1.5" } } }] } }
    await dynamodb.putItem({ TableName, Item })
    assert.deepEqual((await dynamodb.getItem({ TableName, Key: { pk: { S: "a" } } })).Item, Item)
    await refused("ConditionalCheckFailedException", dynamodb.putItem({ TableName, Item, ConditionExpression: "attribute_not_exists(pk)" }))
    await refused("TransactionCanceledException", dynamodb.transactWriteItems({ TransactItems: [{ Put: { TableName, Item, ConditionExpression: "attribute_not_exists(pk)" } }] }))
    const { StreamDescription: { Shards } } = await streams.describeStream({ StreamArn })
    const [r] = await eventually(async () => {
      for (const { ShardId } of Shards) {
        const { ShardIterator } = await streams.getShardIterator({ StreamArn, ShardId, ShardIteratorType: "TRIM_HORIZON" })
        const { Records } = await streams.getRecords({ ShardIterator })
        if (Records.length) return Records
      }
    })
    assert.equal(r.eventName, "INSERT")
    assert.deepEqual(r.dynamodb.NewImage.l, Item.l)
  },
  async s3() {
    const s3 = new S3({ forcePathStyle: true })
    const Bucket = name("b")
    await s3.createBucket({ Bucket })
    const [url, arn] = await queue("s3")
    await s3.putBucketNotificationConfiguration({ Bucket, NotificationConfiguration: { QueueConfigurations: [{ QueueArn: arn, Events: ["s3:ObjectCreated:*"] }] } })
    assert.equal(JSON.parse((await one(url)).Body).Event, "s3:TestEvent")
    await s3.putObject({ Bucket, Key: "a b+ü.txt", Body: "hello" })
    assert.equal(await (await s3.getObject({ Bucket, Key: "a b+ü.txt" })).Body.transformToString(), "hello")
    assert.equal(JSON.parse((await one(url)).Body).Records[0].s3.object.key, "a+b%2B%C3%BC.txt")
    await refused("NoSuchKey", s3.getObject({ Bucket, Key: "gone" }))
    const { UploadId } = await s3.createMultipartUpload({ Bucket, Key: "big" })
    const { ETag } = await s3.uploadPart({ Bucket, Key: "big", UploadId, PartNumber: 1, Body: "part" })
    await s3.completeMultipartUpload({ Bucket, Key: "big", UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } })
    assert.equal((await s3.headObject({ Bucket, Key: "big" })).ContentLength, 4)
    const { Contents } = await s3.listObjectsV2({ Bucket })
    assert.deepEqual(Contents.map(o => o.Key), ["a b+ü.txt", "big"])
  },
  async events() {
    const events = new EventBridge({})
    const [url, arn] = await queue("events")
    const EventBusName = name("bus")
    await events.createEventBus({ Name: EventBusName })
    await events.putRule({ Name: name("r"), EventBusName, EventPattern: '{"source":["my.app"]}' })
    await events.putTargets({ Rule: name("r"), EventBusName, Targets: [{ Id: "1", Arn: arn, InputPath: "$.detail" }] })
    const { FailedEntryCount } = await events.putEvents({ Entries: [{ EventBusName, Source: "my.app", DetailType: "T", Detail: '{"a":1}' }] })
    assert.equal(FailedEntryCount, 0)
    assert.equal((await one(url)).Body, '{"a":1}')
    await refused("InvalidEventPatternException", events.putRule({ Name: name("bad"), EventPattern: '{"a":1}' }))
  },
  async scheduler() {
    const scheduler = new Scheduler({})
    const [url, arn] = await queue("scheduler")
    const at = new Date(Date.now() + 2000).toISOString().slice(0, 19)
    await scheduler.createSchedule({
      Name: name("once"), ScheduleExpression: `at(${at})`, FlexibleTimeWindow: { Mode: "OFF" },
      Target: { Arn: arn, RoleArn: "arn:aws:iam::000000000000:role/r", Input: '{"now":true}' },
    })
    assert.equal((await one(url)).Body, '{"now":true}')
    await refused("ResourceNotFoundException", scheduler.getSchedule({ Name: name("gone") }))
  },
}

for (const [service, walk] of Object.entries(walks)) {
  await walk()
  console.log(service, "passes")
}
process.exit(0) // idle connections would keep it for a while
