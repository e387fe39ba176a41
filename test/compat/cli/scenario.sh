#!/usr/bin/env bash
# A walk through all services of the local stack with the AWS command line, of any generation: the command is given as
# the arguments. AWS_ENDPOINT_URL says where. Versions 2 before 2.13 do not know that variable, and versions 1 forget it
# for SQS: these get --endpoint-url.
set -euo pipefail

run=$RANDOM$RANDOM
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export AWS_PAGER= AWS_EC2_METADATA_DISABLED=true

version=$("$@" --version 2>&1)
[[ $version =~ aws-cli/([0-9]+)\.([0-9]+) ]]
endpoint=()
if ((BASH_REMATCH[1] == 1 || BASH_REMATCH[2] < 13)); then
  endpoint=(--endpoint-url "$AWS_ENDPOINT_URL")
fi
command=("$@")
aws() { "${command[@]}" "${endpoint[@]}" --output text "$@"; }

is() { # is WHAT GOT WANT
  [[ $2 == "$3" ]] || { echo "$1 is $2, not $3" >&2; exit 1; }
}

refused() { # refused CODE COMMAND…
  local code=$1
  shift
  if aws "$@" >"$dir/out.$BASHPID" 2>&1; then echo "$* is accepted" >&2; exit 1; fi
  grep -q "($code)" "$dir/out.$BASHPID" || { echo "$* is refused otherwise:" >&2; cat "$dir/out.$BASHPID" >&2; exit 1; }
}

queue() { aws sqs create-queue --queue-name "$run-$1" --attributes VisibilityTimeout=3600 --query QueueUrl; }
arn() { echo "arn:aws:sqs:us-east-1:000000000000:${1##*/}"; }
one() { # receive one message, which is hidden from then on
  local message
  for _ in 1 2 3 4 5; do
    message=$("${command[@]}" "${endpoint[@]}" --output json sqs receive-message --queue-url "$1" --wait-time-seconds 4)
    if [[ -n $message ]]; then
      python3 -c 'import json, sys; print(json.load(sys.stdin)["Messages"][0]["Body"])' <<<"$message"
      return
    fi
  done
  echo "no message in $1" >&2
  exit 1
}
path() { python3 -c 'import json, sys
v = json.load(sys.stdin)
for p in sys.argv[1].split("."): v = v[int(p)] if isinstance(v, list) else v[p]
print(v)' "$1"; }

printf data >"$dir/data"

walk_sqs() {
  q=$(queue q)
  is "the digest" "$(aws sqs send-message --queue-url "$q" --message-body hello --message-attributes '{"a":{"DataType":"String","StringValue":"x"}}' --query MD5OfMessageBody)" 5d41402abc4b2a76b9719d911017c592
  is "the body" "$(one "$q")" hello
  aws sqs set-queue-attributes --queue-url "$q" --attributes VisibilityTimeout=17
  is "the visibility timeout" "$(aws sqs get-queue-attributes --queue-url "$q" --attribute-names All --query Attributes.VisibilityTimeout)" 17
  refused AWS.SimpleQueueService.NonExistentQueue sqs get-queue-url --queue-name "$run-gone"
}

walk_sns() {
  topic=$(aws sns create-topic --name "$run-t" --query TopicArn)
  s=$(queue sns)
  aws sns subscribe --topic-arn "$topic" --protocol sqs --notification-endpoint "$(arn "$s")" --attributes RawMessageDelivery=true >/dev/null
  aws sns publish --topic-arn "$topic" --message "as is" >/dev/null
  is "the message" "$(one "$s")" "as is"
  refused NotFound sns publish --topic-arn "${topic}gone" --message x
}

walk_kinesis() {
  aws kinesis create-stream --stream-name "$run-s" --shard-count 1
  aws kinesis wait stream-exists --stream-name "$run-s"
  shard=$(aws kinesis put-record --stream-name "$run-s" --partition-key k --data "fileb://$dir/data" --query ShardId)
  iterator=$(aws kinesis get-shard-iterator --stream-name "$run-s" --shard-id "$shard" --shard-iterator-type TRIM_HORIZON --query ShardIterator)
  is "the record" "$(aws kinesis get-records --shard-iterator "$iterator" --query 'Records[0].Data')" ZGF0YQ==
  refused ResourceNotFoundException kinesis describe-stream-summary --stream-name "$run-gone"
}

walk_dynamodb() {
  aws dynamodb create-table --table-name "$run-t" --provisioned-throughput ReadCapacityUnits=1,WriteCapacityUnits=1 --key-schema AttributeName=pk,KeyType=HASH \
    --attribute-definitions AttributeName=pk,AttributeType=S --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE >/dev/null
  aws dynamodb put-item --table-name "$run-t" --item '{"pk":{"S":"a"},"n":{"N":"1.50"}}'
  is "the item" "$(aws dynamodb get-item --table-name "$run-t" --key '{"pk":{"S":"a"}}' --query Item.n.N)" 1.5
  refused ConditionalCheckFailedException dynamodb put-item --table-name "$run-t" --item '{"pk":{"S":"a"}}' --condition-expression 'attribute_not_exists(pk)'
  stream=$(aws dynamodb describe-table --table-name "$run-t" --query Table.LatestStreamArn)
  changes=
  for shard in $(aws dynamodbstreams describe-stream --stream-arn "$stream" --query 'StreamDescription.Shards[].ShardId'); do
    iterator=$(aws dynamodbstreams get-shard-iterator --stream-arn "$stream" --shard-id "$shard" --shard-iterator-type TRIM_HORIZON --query ShardIterator)
    changes+=$(aws dynamodbstreams get-records --shard-iterator "$iterator" --query 'Records[].eventName')
  done
  is "the changes" "$changes" INSERT
}

walk_s3() {
  o=$(queue s3)
  aws s3 mb "s3://$run-b" >/dev/null
  aws s3api put-bucket-notification-configuration --bucket "$run-b" --notification-configuration \
    "{\"QueueConfigurations\":[{\"QueueArn\":\"$(arn "$o")\",\"Events\":[\"s3:ObjectCreated:*\"]}]}"
  is "the test message" "$(one "$o" | path Event)" s3:TestEvent
  aws s3 cp --only-show-errors "$dir/data" "s3://$run-b/a b.txt"
  is "the key" "$(one "$o" | path Records.0.s3.object.key)" a+b.txt
  aws s3 cp --only-show-errors "s3://$run-b/a b.txt" "$dir/back"
  cmp "$dir/data" "$dir/back"
  head -c 9000000 /dev/zero >"$dir/big" # above the command's threshold for multipart uploads
  aws s3 cp --only-show-errors "$dir/big" "s3://$run-b/big"
  is "the event" "$(one "$o" | path Records.0.eventName)" ObjectCreated:CompleteMultipartUpload
  refused NoSuchKey s3api get-object --bucket "$run-b" --key gone "$dir/gone"
  aws s3 rb --force "s3://$run-b" >/dev/null
}

walk_events() {
  e=$(queue events)
  aws events put-rule --name "$run-r" --event-pattern "{\"source\":[\"$run\"]}" >/dev/null
  aws events put-targets --rule "$run-r" --targets "Id=1,Arn=$(arn "$e")" >/dev/null
  aws events put-events --entries "[{\"Source\":\"$run\",\"DetailType\":\"T\",\"Detail\":\"{\\\"a\\\":1}\"}]" >/dev/null
  is "the detail" "$(one "$e" | path detail.a)" 1
  refused InvalidEventPatternException events put-rule --name "$run-bad" --event-pattern '{"a":1}'
}

walk_scheduler() {
  aws scheduler create-schedule --name "$run-once" --schedule-expression "at(2100-01-01T00:00:00)" --flexible-time-window Mode=OFF \
    --target "{\"Arn\":\"$(arn "$run-gone")\",\"RoleArn\":\"arn:aws:iam::000000000000:role/r\",\"Input\":\"once\"}" >/dev/null
  is "the input" "$(aws scheduler get-schedule --name "$run-once" --query Target.Input)" once
  refused ResourceNotFoundException scheduler get-schedule --name "$run-gone"
}

# A command takes most of a second to start: the services are walked through side by side.
walks=()
for service in sqs sns kinesis dynamodb s3 events scheduler; do
  "walk_$service" >"$dir/$service.log" 2>&1 &
  walks+=("$!:$service")
done
failed=
for walk in "${walks[@]}"; do
  if wait "${walk%%:*}"; then
    echo "${walk#*:} passes"
  else
    failed=1
    echo "${walk#*:} fails:"
    cat "$dir/${walk#*:}.log"
  fi
done
[[ -z $failed ]]
