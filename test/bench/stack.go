package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/test/emulators"
	"github.com/millrace/millrace/test/hub"
)

// clientsOfStack is how many clients press the local stack and its peers.
const clientsOfStack = 8

// figure is one thing that is measured of the local stack, of its peers and, as the floor, of the echo.
type figure struct {
	name  string
	unit  string
	peers []string // who can do it too
	// prepare makes the resources at an endpoint and returns the work of one client, which is called over and over, each
	// time for as many units as it says.
	prepare func(p server) (func(client int) work, error)
	// echoed is the body that the echo answers in place of one request.
	echoed []byte
	// echo is how much of the echo's rate is wanted, in units, and best how many times the best peer's.
	echo, best float64
}

// server is the local stack or a peer.
type server struct{ name, endpoint string }

// enough is how many messages a queue needs for a run at full speed. Who takes more than that fills it again, and the time for
// that counts. moto becomes slow by the depth of a queue.
func (p server) enough(batch int) int {
	n := map[string]int{"millrace": 160_000, "fauxqs": 40_000}[p.name]
	if batch == 1 {
		n /= 8
	}
	return max(n, 500)
}

// work does a piece of work on a connection and says how many units that was.
type work func(c *caller) (units int, err error)

// caller is an HTTP client on one connection, written by hand so that little of the two cores goes to it.
type caller struct {
	conn net.Conn
	r    *bufio.Reader
	host string
	out  []byte
	body []byte
	last bool // the server closes the connection after its answer
}

func dial(endpoint string) (*caller, error) {
	host := strings.TrimPrefix(endpoint, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return &caller{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), host: host}, nil
}

// call sends a request and returns the body of the answer, which is good until the next call.
func (c *caller) call(method, path, headers string, body []byte) ([]byte, error) {
	if c.last {
		c.conn.Close()
		conn, err := net.Dial("tcp", c.host)
		if err != nil {
			return nil, err
		}
		c.conn, c.last = conn, false
		c.r.Reset(conn)
	}
	c.out = append(c.out[:0], method...)
	c.out = append(c.out, ' ')
	c.out = append(c.out, path...)
	c.out = append(c.out, " HTTP/1.1\r\nHost: "...)
	c.out = append(c.out, c.host...)
	c.out = append(c.out, "\r\nContent-Length: "...)
	c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, headers...)
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, body...)
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 12 {
		return nil, fmt.Errorf("bad status line %q", line)
	}
	status := string(line[9:12])
	length, chunked := 0, false
	for {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		case bytes.EqualFold(name, []byte("Connection")):
			c.last = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	c.body = c.body[:0]
	for chunked {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		n, err := strconv.ParseInt(string(bytes.TrimRight(line, "\r\n")), 16, 64)
		if err != nil {
			return nil, err
		}
		if err := c.read(int(n)); err != nil {
			return nil, err
		}
		if _, err := c.r.Discard(2); err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
	}
	if err := c.read(length); err != nil {
		return nil, err
	}
	if status[0] == '5' {
		return nil, errBroken
	}
	if status != "200" {
		return nil, fmt.Errorf("%s %s: %s %s", method, path, status, c.body)
	}
	return c.body, nil
}

// errBroken is an answer that says that the server is at fault: a peer may do that under load, and it does not count.
var errBroken = errors.New("the server answered that it is at fault")

func (c *caller) read(n int) error {
	at := len(c.body)
	c.body = slices.Grow(c.body, n)[:at+n]
	_, err := io.ReadFull(c.r, c.body[at:])
	return err
}

// credentials are what unsigned requests need to be told apart.
func credentials(service string) string {
	return "Authorization: AWS4-HMAC-SHA256 Credential=test/20261124/us-east-1/" + service +
		"/aws4_request, SignedHeaders=host, Signature=0000000000000000000000000000000000000000000000000000000000000000\r\nX-Amz-Date: 20261124T000000Z\r\n"
}

func target(service, version, operation string) string {
	return credentials(service) + "Content-Type: application/x-amz-json-" + version + "\r\nX-Amz-Target: " + operation + "\r\n"
}

var (
	sqsSend        = target("sqs", "1.0", "AmazonSQS.SendMessage")
	sqsSendBatch   = target("sqs", "1.0", "AmazonSQS.SendMessageBatch")
	sqsReceive     = target("sqs", "1.0", "AmazonSQS.ReceiveMessage")
	sqsDelete      = target("sqs", "1.0", "AmazonSQS.DeleteMessage")
	sqsDeleteBatch = target("sqs", "1.0", "AmazonSQS.DeleteMessageBatch")
	kinesisPut     = target("kinesis", "1.1", "Kinesis_20131202.PutRecord")
	kinesisPuts    = target("kinesis", "1.1", "Kinesis_20131202.PutRecords")
	kinesisGet     = target("kinesis", "1.1", "Kinesis_20131202.GetRecords")
	dynamodbPut    = target("dynamodb", "1.0", "DynamoDB_20120810.PutItem")
	dynamodbPuts   = target("dynamodb", "1.0", "DynamoDB_20120810.BatchWriteItem")
	s3Put          = credentials("s3") + "X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\nContent-Type: text/plain\r\n"
)

// ask makes one JSON request and reads members of the answer.
func ask(endpoint, service, version, operation, body string, into any) error {
	c, err := dial(endpoint)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	answer, err := c.call(http.MethodPost, "/", target(service, version, operation), []byte(body))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if into == nil {
		return nil // some answer nothing, others {}
	}
	return json.Unmarshal(answer, into)
}

// resources numbers what the figures make, so that no two runs share a queue.
var resources atomic.Int64

func name(prefix string) string { return prefix + "-" + strconv.FormatInt(resources.Add(1), 10) }

// makeQueue returns the URL of a new queue.
func makeQueue(endpoint, name, attributes string) (string, error) {
	var out struct {
		QueueURL string `json:"QueueUrl"`
	}
	err := ask(endpoint, "sqs", "1.0", "AmazonSQS.CreateQueue", fmt.Sprintf(`{"QueueName":%q%s}`, name, attributes), &out)
	made.Store(out.QueueURL, endpoint)
	return out.QueueURL, err
}

// made are the queues of the figure that is being measured, with their endpoints.
var made sync.Map

// purge empties them, so that no server drags the messages of one run along into the next.
func purge() (err error) {
	made.Range(func(url, endpoint any) bool {
		made.Delete(url)
		e := ask(endpoint.(string), "sqs", "1.0", "AmazonSQS.PurgeQueue", fmt.Sprintf(`{"QueueUrl":%q}`, url), nil)
		err = errors.Join(err, e)
		return true
	})
	return err
}

const message = `{"orderId":"7f1c2b","customer":"c-4711","items":[{"sku":"a-1","n":2},{"sku":"b-9","n":1}],"total":"42.10","currency":"EUR","note":"leave it with the neighbour"}`

// entries is a JSON list of n elements made by f.
func entries(n int, f func(i int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(f(i))
	}
	return "[" + b.String() + "]"
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

// once is a figure's work of one request that is always the same.
func once(method, path, headers string, body []byte, units int) func(int) work {
	return func(int) work {
		return func(c *caller) (int, error) {
			_, err := c.call(method, path, headers, body)
			return units, err
		}
	}
}

// fill sends messages to a queue, in batches of ten.
func fill(endpoint, url string, n int, more func(i int) string) error {
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for client := range 4 {
		wg.Go(func() {
			c, err := dial(endpoint)
			if err != nil {
				errs <- err
				return
			}
			defer c.conn.Close()
			for at := client * 10; at < n; at += 40 {
				body := fmt.Sprintf(`{"QueueUrl":%q,"Entries":%s}`, url, entries(10, func(i int) string {
					return fmt.Sprintf(`{"Id":"%d","MessageBody":%s%s}`, i, quote(message), more(at+i))
				}))
				if _, err := c.call(http.MethodPost, "/", sqsSendBatch, []byte(body)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// handles finds the receipt handles of an answer.
func handles(answer []byte, into [][]byte) [][]byte {
	const key = `"ReceiptHandle":`
	for {
		i := bytes.Index(answer, []byte(key))
		if i < 0 {
			return into
		}
		answer = bytes.TrimLeft(answer[i+len(key):], ` "`)
		j := bytes.IndexByte(answer, '"')
		into = append(into, answer[:j])
		answer = answer[j:]
	}
}

// drain receives and deletes n messages at a time, and sends as many if there are none left, which does not count.
func drain(endpoint, url string, n int, more func(i int) string) func(int) work {
	receive := fmt.Appendf(nil, `{"QueueUrl":%q,"MaxNumberOfMessages":%d}`, url, n)
	begin := fmt.Appendf(nil, `{"QueueUrl":%q,"Entries":[`, url)
	var next atomic.Int64
	return func(int) work {
		var got [][]byte
		var b []byte
		return func(c *caller) (int, error) {
			answer, err := c.call(http.MethodPost, "/", sqsReceive, receive)
			if err != nil {
				return 0, err
			}
			got = handles(answer, got[:0])
			if len(got) == 0 {
				at := int(next.Add(100)) + 1<<20
				return 0, fill(endpoint, url, 100, func(i int) string { return more(at + i) })
			}
			if n == 1 {
				b = fmt.Appendf(b[:0], `{"QueueUrl":%q,"ReceiptHandle":"%s"}`, url, got[0])
				_, err = c.call(http.MethodPost, "/", sqsDelete, b)
				return 2, err // requests
			}
			b = append(b[:0], begin...)
			for i, h := range got {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, `{"Id":"`...)
				b = strconv.AppendInt(b, int64(i), 10)
				b = append(b, `","ReceiptHandle":"`...)
				b = append(b, h...)
				b = append(b, `"}`...)
			}
			b = append(b, "]}"...)
			_, err = c.call(http.MethodPost, "/", sqsDeleteBatch, b)
			return len(got), err
		}
	}
}

func nothing(int) string { return "" }

// grouped puts a message into one of a thousand groups.
func grouped(i int) string {
	return fmt.Sprintf(`,"MessageGroupId":"g%d","MessageDeduplicationId":"%d"`, i%1000, i)
}

func waitFor(what string, ready func() (bool, error)) error {
	for range 200 {
		if ok, err := ready(); err != nil || ok {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s is not ready after 10 seconds", what)
}

func makeStream(endpoint string, shards int) (string, error) {
	stream := name("bench")
	if err := ask(endpoint, "kinesis", "1.1", "Kinesis_20131202.CreateStream", fmt.Sprintf(`{"StreamName":%q,"ShardCount":%d}`, stream, shards), nil); err != nil {
		return "", err
	}
	return stream, waitFor("the stream", func() (bool, error) {
		var out struct{ StreamDescriptionSummary struct{ StreamStatus string } }
		err := ask(endpoint, "kinesis", "1.1", "Kinesis_20131202.DescribeStreamSummary", fmt.Sprintf(`{"StreamName":%q}`, stream), &out)
		return out.StreamDescriptionSummary.StreamStatus == "ACTIVE", err
	})
}

func makeTable(endpoint string) (string, error) {
	table := name("bench")
	err := ask(endpoint, "dynamodb", "1.0", "DynamoDB_20120810.CreateTable", fmt.Sprintf(`{"TableName":%q,"BillingMode":"PAY_PER_REQUEST",
		"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
		"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"}}`, table), nil)
	if err != nil {
		return "", err
	}
	return table, waitFor("the table", func() (bool, error) {
		var out struct{ Table struct{ TableStatus string } }
		err := ask(endpoint, "dynamodb", "1.0", "DynamoDB_20120810.DescribeTable", fmt.Sprintf(`{"TableName":%q}`, table), &out)
		return out.Table.TableStatus == "ACTIVE", err
	})
}

func item(id int64) string {
	return fmt.Sprintf(`{"id":{"S":"order-%d"},"total":{"N":"42.10"},"status":{"S":"created"},"items":{"L":[{"M":{"sku":{"S":"a-1"},"n":{"N":"2"}}}]},"at":{"N":"%d"}}`, id%1000, id)
}

// stackFigures are what the issue of the local stack asks for.
func stackFigures() []figure {
	var ids atomic.Int64
	sendBody := func(url string) []byte {
		return fmt.Appendf(nil, `{"QueueUrl":%q,"MessageBody":%s}`, url, quote(message))
	}
	queues := []string{"fauxqs", "moto"}
	streams := []string{"kinesalite", "moto"}
	return []figure{
		{name: "SQS send", unit: "requests/s", peers: queues, echo: 0.5, best: 3, echoed: sendBody("http://127.0.0.1:4566/000000000000/bench-1"),
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				url, err := makeQueue(e, name("bench"), "")
				return once(http.MethodPost, "/", sqsSend, sendBody(url), 1), err
			}},
		{name: "SQS receive, then delete", unit: "requests/s", peers: queues, echo: 0.5, best: 3, echoed: sendBody("http://127.0.0.1:4566/000000000000/bench-1"),
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				url, err := makeQueue(e, name("bench"), "")
				if err == nil {
					err = fill(e, url, p.enough(1), nothing)
				}
				return drain(e, url, 1, nothing), err
			}},
		{name: "SQS send, batches of 10", unit: "messages/s", peers: queues, best: 5,
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				url, err := makeQueue(e, name("bench"), "")
				return once(http.MethodPost, "/", sqsSendBatch, fmt.Appendf(nil, `{"QueueUrl":%q,"Entries":%s}`, url, entries(10, func(i int) string {
					return fmt.Sprintf(`{"Id":"%d","MessageBody":%s}`, i, quote(message))
				})), 10), err
			}},
		{name: "SQS receive, then delete, batches of 10", unit: "messages/s", peers: queues, best: 5,
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				url, err := makeQueue(e, name("bench"), "")
				if err == nil {
					err = fill(e, url, p.enough(10), nothing)
				}
				return drain(e, url, 10, nothing), err
			}},
		{name: "Kinesis put", unit: "requests/s", peers: streams, echo: 0.5, best: 3, echoed: fmt.Appendf(nil, `{"StreamName":"bench-1","PartitionKey":"c-4711","Data":"%s"}`, strings.Repeat("QUFB", 50)),
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				stream, err := makeStream(e, 4)
				return once(http.MethodPost, "/", kinesisPut, fmt.Appendf(nil, `{"StreamName":%q,"PartitionKey":"c-4711","Data":"%s"}`, stream, strings.Repeat("QUFB", 50)), 1), err
			}},
		{name: "Kinesis put, batches of 10", unit: "records/s", peers: streams, best: 5,
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				stream, err := makeStream(e, 4)
				return once(http.MethodPost, "/", kinesisPuts, fmt.Appendf(nil, `{"StreamName":%q,"Records":%s}`, stream, entries(10, func(i int) string {
					return fmt.Sprintf(`{"PartitionKey":"c-%d","Data":"%s"}`, i, strings.Repeat("QUFB", 50))
				})), 10), err
			}},
		{name: "Kinesis get, one record", unit: "requests/s", peers: streams, echo: 0.5, best: 3, echoed: bytes.Repeat([]byte("x"), 600), prepare: readStream(1)},
		{name: "Kinesis get, 10 records", unit: "records/s", peers: streams, best: 5, prepare: readStream(10)},
		{name: "DynamoDB put, with a stream", unit: "requests/s", peers: []string{"moto"}, echo: 0.5, best: 3, echoed: []byte(`{"TableName":"bench-1","Item":` + item(0) + `}`),
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				table, err := makeTable(e)
				return func(int) work {
					var b []byte
					return func(c *caller) (int, error) {
						b = fmt.Appendf(b[:0], `{"TableName":%q,"Item":%s}`, table, item(ids.Add(1)))
						_, err := c.call(http.MethodPost, "/", dynamodbPut, b)
						return 1, err
					}
				}, err
			}},
		{name: "DynamoDB put, with a stream, batches of 10", unit: "items/s", peers: []string{"moto"}, best: 5,
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				table, err := makeTable(e)
				return func(int) work {
					var b []byte
					return func(c *caller) (int, error) {
						first := ids.Add(10)
						b = fmt.Appendf(b[:0], `{"RequestItems":{%q:%s}}`, table, entries(10, func(i int) string {
							return `{"PutRequest":{"Item":` + item(first+int64(i)) + `}}`
						}))
						_, err := c.call(http.MethodPost, "/", dynamodbPuts, b)
						return 10, err
					}
				}, err
			}},
		{name: "S3 put of 1 KB, with a notification to a queue", unit: "requests/s", peers: []string{"moto"}, echo: 0.5, best: 3, echoed: bytes.Repeat([]byte("x"), 1000),
			prepare: func(p server) (func(int) work, error) {
				e := p.endpoint
				bucket, queue := name("bench"), name("bench")
				if _, err := makeQueue(e, queue, ""); err != nil {
					return nil, err
				}
				c, err := dial(e)
				if err != nil {
					return nil, err
				}
				defer c.conn.Close()
				if _, err := c.call(http.MethodPut, "/"+bucket, s3Put, nil); err != nil {
					return nil, err
				}
				config := fmt.Sprintf(`<NotificationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><QueueConfiguration><Id>q</Id>`+
					`<Queue>arn:aws:sqs:us-east-1:%s:%s</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>`, account(e), queue)
				if _, err := c.call(http.MethodPut, "/"+bucket+"?notification", s3Put, []byte(config)); err != nil {
					return nil, err
				}
				return func(client int) work {
					body, i := bytes.Repeat([]byte("x"), 1000), 0
					return func(c *caller) (int, error) {
						i++
						_, err := c.call(http.MethodPut, fmt.Sprintf("/%s/uploads/%d/%d.txt", bucket, client, i%100), s3Put, body)
						return 1, err
					}
				}, nil
			}},
	}
}

// account is the account of an endpoint's queues.
func account(endpoint string) string {
	url, err := makeQueue(endpoint, name("account"), "")
	if err != nil {
		return "000000000000"
	}
	parts := strings.Split(url, "/")
	return parts[len(parts)-2]
}

// readStream reads a shard with many records, n at a time, from its beginning whenever a client is at the end.
func readStream(n int) func(server) (func(int) work, error) {
	return func(p server) (func(int) work, error) {
		e := p.endpoint
		stream, err := makeStream(e, 1)
		if err != nil {
			return nil, err
		}
		for range 40 {
			if err := ask(e, "kinesis", "1.1", "Kinesis_20131202.PutRecords", fmt.Sprintf(`{"StreamName":%q,"Records":%s}`, stream, entries(25, func(i int) string {
				return fmt.Sprintf(`{"PartitionKey":"c-%d","Data":"%s"}`, i, strings.Repeat("QUFB", 50))
			})), nil); err != nil {
				return nil, err
			}
		}
		iterator := func() (string, error) {
			var out struct{ ShardIterator string }
			err := ask(e, "kinesis", "1.1", "Kinesis_20131202.GetShardIterator",
				fmt.Sprintf(`{"StreamName":%q,"ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`, stream), &out)
			return out.ShardIterator, err
		}
		return func(int) work {
			next, reads := "", 0
			var b []byte
			return func(c *caller) (int, error) {
				if next == "" || reads == 1000/n {
					var err error
					if next, err = iterator(); err != nil {
						return 0, err
					}
					reads = 0
				}
				b = fmt.Appendf(b[:0], `{"ShardIterator":%q,"Limit":%d}`, next, n)
				answer, err := c.call(http.MethodPost, "/", kinesisGet, b)
				if err != nil {
					return 0, err
				}
				const key = `"NextShardIterator":`
				i := bytes.Index(answer, []byte(key))
				if i < 0 || bytes.Count(answer, []byte(`"SequenceNumber"`)) != n {
					return 0, fmt.Errorf("not %d records and a next iterator: %.300s", n, answer)
				}
				rest := bytes.TrimLeft(answer[i+len(key):], ` "`)
				next = string(rest[:bytes.IndexByte(rest, '"')])
				reads++
				return n, nil
			}
		}, nil
	}
}

// press runs work from several clients and returns units a second. If it is lenient, broken answers do not count.
func (b *bench) press(endpoint string, clients int, lenient bool, each func(client int) work) (float64, error) {
	var units atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	began := time.Now()
	deadline := began.Add(b.length)
	for client := range clients {
		wg.Go(func() {
			c, err := dial(endpoint)
			if err != nil {
				errs <- err
				return
			}
			defer c.conn.Close()
			c.conn.SetDeadline(deadline.Add(time.Minute))
			do, mine := each(client), 0
			for time.Now().Before(deadline) {
				n, err := do(c)
				if errors.Is(err, errBroken) && lenient {
					continue
				}
				if err != nil {
					errs <- err
					return
				}
				mine += n
			}
			units.Add(int64(mine))
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(units.Load()) / took.Seconds(), nil
	}
}

// stack measures the local stack beside other emulators and the echo.
func (b *bench) stack() error {
	echo, err := startFloor("floor-echo")
	if err != nil {
		return err
	}
	defer echo.stop()
	endpoints := map[string]string{}
	own, stop, err := b.startStack()
	if err != nil {
		return err
	}
	defer stop()
	for _, peer := range []string{"fauxqs", "moto", "kinesalite"} {
		endpoint, stop, err := b.startPeer(peer)
		if err != nil {
			return err
		}
		defer stop()
		endpoints[peer] = endpoint
	}
	for _, f := range stackFigures() {
		if err := b.stackFigure(f, echo.address, own, endpoints); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := b.fifo(own); err != nil {
		return err
	}
	return b.matcher()
}

func (b *bench) stackFigure(f figure, echo, own string, endpoints map[string]string) error {
	measure := func(p server) side {
		return func() (float64, error) {
			each, err := f.prepare(p)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", p.name, err)
			}
			rate, err := b.press(p.endpoint, clientsOfStack, p.endpoint != own, each)
			return rate, errors.Join(err, purge())
		}
	}
	sides := []side{measure(server{"millrace", own})}
	for _, p := range f.peers {
		sides = append(sides, measure(server{p, endpoints[p]}))
	}
	if f.echo > 0 {
		sides = append(sides, func() (float64, error) {
			return b.press("http://"+echo, clientsOfStack, false, once(http.MethodPost, "/", sqsSend, f.echoed, 1))
		})
	}
	m, err := b.turns(sides...)
	if err != nil {
		return err
	}
	if f.echo > 0 {
		b.atLeast("stack", f.name+", beside the echo", f.unit, m[len(m)-1], m[0], f.echo, "")
	}
	best := 0
	for i := range f.peers {
		if m[1+i] > m[1+best] {
			best = i
		}
	}
	note := ""
	for i, p := range f.peers {
		note += fmt.Sprintf("%s %s  ", p, number(m[1+i]))
	}
	b.atLeast("stack", f.name+", beside "+f.peers[best], f.unit, m[1+best], m[0], f.best, strings.TrimSpace(note))
	return nil
}

// fifo measures a FIFO queue of a thousand groups beside a standard queue, batches of ten both.
func (b *bench) fifo(own string) error {
	var ids atomic.Int64
	send := func(suffix, attributes string, more func(i int) string) side {
		return func() (float64, error) {
			url, err := makeQueue(own, name("bench")+suffix, attributes)
			if err != nil {
				return 0, err
			}
			return b.press(own, clientsOfStack, false, func(int) work {
				var body []byte
				return func(c *caller) (int, error) {
					first := int(ids.Add(10))
					body = fmt.Appendf(body[:0], `{"QueueUrl":%q,"Entries":%s}`, url, entries(10, func(i int) string {
						return fmt.Sprintf(`{"Id":"%d","MessageBody":%s%s}`, i, quote(message), more(first+i))
					}))
					_, err := c.call(http.MethodPost, "/", sqsSendBatch, body)
					return 10, err
				}
			})
		}
	}
	receive := func(suffix, attributes string, more func(i int) string) side {
		return func() (float64, error) {
			url, err := makeQueue(own, name("bench")+suffix, attributes)
			if err == nil {
				err = fill(own, url, server{name: "millrace"}.enough(10), more)
			}
			if err != nil {
				return 0, err
			}
			return b.press(own, clientsOfStack, false, drain(own, url, 10, more))
		}
	}
	const attributes = `,"Attributes":{"FifoQueue":"true","DeduplicationScope":"messageGroup","FifoThroughputLimit":"perMessageGroupId"}`
	m, err := b.turns(send("", "", nothing), send(".fifo", attributes, grouped), receive("", "", nothing), receive(".fifo", attributes, grouped))
	if err != nil {
		return err
	}
	b.atLeast("stack", "FIFO of 1,000 groups: send, beside a standard queue", "messages/s", m[0], m[1], 0.2, "")
	b.atLeast("stack", "FIFO of 1,000 groups: receive and delete, beside a standard queue", "messages/s", m[2], m[3], 0.2, "")
	return nil
}

// startStack runs the local stack, in memory.
func (b *bench) startStack() (endpoint string, stop func(), err error) {
	h, err := hub.StartStack(b.binary, b.dir)
	if err != nil {
		return "", nil, err
	}
	return h.AWS, h.Kill, nil
}

func (b *bench) startPeer(name string) (endpoint string, stop func(), err error) {
	for _, t := range emulators.Others {
		if t.Name == name {
			return t.Start(b.ctx, ".", b.dir)
		}
	}
	return "", nil, fmt.Errorf("there is no emulator %s", name)
}

var matchLine = regexp.MustCompile(`^BenchmarkSet/(\w+)/patterns=100(?:-\d+)?\s+\d+\s+([\d.]+) ns/op.*\s(\d+) allocs/op`)

// matcher runs the benchmark of package router: one event against a hundred patterns, on one core.
func (b *bench) matcher() error {
	cmd := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkSet$/^(s3|ec2)$/^patterns=100$",
		"-benchtime", "300ms", "-cpu", "1", "-count", strconv.Itoa(b.runs), "github.com/millrace/millrace/router")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	times, allocs := map[string][]float64{}, map[string]string{}
	for line := range strings.Lines(string(out)) {
		m := matchLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		ns, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return err
		}
		times[m[1]] = append(times[m[1]], ns)
		allocs[m[1]] = m[3]
	}
	for _, event := range []string{"s3", "ec2"} {
		if len(times[event]) == 0 {
			return fmt.Errorf("no figures in\n%s", out)
		}
		rate := 1e9 / median(times[event])
		b.plain("stack", "matcher: an event of "+event+" against 100 patterns, one core", "events/s", rate, ">= 1e6", rate >= 1e6, allocs[event]+" allocations")
	}
	return nil
}
