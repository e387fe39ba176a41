package sqs

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// post sends a Query as the SDKs of before 2023 do, and returns the status and the answer.
func (w *world) post(parameters ...string) (int, string) {
	w.t.Helper()
	form := url.Values{"Version": {"2012-11-05"}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	resp, err := w.client.Options().HTTPClient.(*http.Client).PostForm(w.url, form)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// mask replaces what is different each time.
func mask(s string) string {
	s = regexp.MustCompile(`<RequestId>[^<]+`).ReplaceAllString(s, "<RequestId>*")
	s = regexp.MustCompile(`<MessageId>[^<]+`).ReplaceAllString(s, "<MessageId>*")
	return regexp.MustCompile(`<ReceiptHandle>[^<]+`).ReplaceAllString(s, "<ReceiptHandle>*")
}

const xmlns = `xmlns="http://queue.amazonaws.com/doc/2012-11-05/"`

func TestTheQueryProtocol(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.url + "/000000000000/q"
	ok := func(operation, result string) string {
		return `<?xml version="1.0"?><` + operation + `Response ` + xmlns + `>` + result +
			`<ResponseMetadata><RequestId>*</RequestId></ResponseMetadata></` + operation + `Response>`
	}
	result := func(operation, inner string) string {
		return ok(operation, "<"+operation+"Result>"+inner+"</"+operation+"Result>")
	}
	check := func(want string, parameters ...string) string {
		t.Helper()
		code, got := w.post(parameters...)
		if code != 200 || mask(got) != want {
			t.Errorf("%s: %d %s\nwant %s", parameters[1], code, got, want)
		}
		return got
	}
	check(result("CreateQueue", "<QueueUrl>"+q+"</QueueUrl>"), "Action", "CreateQueue", "QueueName", "q",
		"Attribute.1.Name", "VisibilityTimeout", "Attribute.1.Value", "7", "Tag.1.Key", "k", "Tag.1.Value", "v")
	check(result("ListQueues", "<QueueUrl>"+q+"</QueueUrl>"), "Action", "ListQueues")
	check(result("GetQueueUrl", "<QueueUrl>"+q+"</QueueUrl>"), "Action", "GetQueueUrl", "QueueName", "q")
	check(result("ListQueueTags", "<Tag><Key>k</Key><Value>v</Value></Tag>"), "Action", "ListQueueTags", "QueueUrl", q)
	check(result("GetQueueAttributes", "<Attribute><Name>VisibilityTimeout</Name><Value>7</Value></Attribute>"),
		"Action", "GetQueueAttributes", "QueueUrl", q, "AttributeName.1", "VisibilityTimeout")
	check(result("SendMessage", "<MD5OfMessageBody>e221f9cd324af003c67bd09951ba8089</MD5OfMessageBody>"+
		"<MD5OfMessageAttributes>478dc19797ca415f59691aed6dd0ad96</MD5OfMessageAttributes><MessageId>*</MessageId>"),
		"Action", "SendMessage", "QueueUrl", q, "MessageBody", "<&>", "MessageAttribute.1.Name", "a",
		"MessageAttribute.1.Value.DataType", "Binary", "MessageAttribute.1.Value.BinaryValue", "AAE=")
	got := check(result("ReceiveMessage", "<Message><MessageId>*</MessageId><ReceiptHandle>*</ReceiptHandle>"+
		"<MD5OfBody>e221f9cd324af003c67bd09951ba8089</MD5OfBody><Body>&lt;&amp;&gt;</Body>"+
		"<Attribute><Name>ApproximateReceiveCount</Name><Value>1</Value></Attribute>"+
		"<MD5OfMessageAttributes>478dc19797ca415f59691aed6dd0ad96</MD5OfMessageAttributes>"+
		"<MessageAttribute><Name>a</Name><Value><BinaryValue>AAE=</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute></Message>"),
		"Action", "ReceiveMessage", "QueueUrl", q, "AttributeName.1", "ApproximateReceiveCount", "MessageAttributeName.1", "All",
		"MessageSystemAttributeName.1", "All") // recordings show that the older parameter wins
	handle := regexp.MustCompile(`<ReceiptHandle>([^<]+)`).FindStringSubmatch(got)[1]
	check(ok("ChangeMessageVisibility", ""), "Action", "ChangeMessageVisibility", "QueueUrl", q, "ReceiptHandle", handle, "VisibilityTimeout", "0")
	check(ok("DeleteMessage", ""), "Action", "DeleteMessage", "QueueUrl", q, "ReceiptHandle", handle)
	check(result("ReceiveMessage", ""), "Action", "ReceiveMessage", "QueueUrl", q)
	check(result("SendMessageBatch", "<SendMessageBatchResultEntry><Id>a</Id><MessageId>*</MessageId><MD5OfMessageBody>9dd4e461268c8034f5c8564e155c67a6</MD5OfMessageBody></SendMessageBatchResultEntry>"+
		"<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>InvalidMessageContents</Code><Message>Invalid binary character &#39;#x1&#39; was found in the message body, the set of allowed characters is "+allowedCharacters+".</Message></BatchResultErrorEntry>"),
		"Action", "SendMessageBatch", "QueueUrl", q, "SendMessageBatchRequestEntry.1.Id", "a", "SendMessageBatchRequestEntry.1.MessageBody", "x",
		"SendMessageBatchRequestEntry.2.Id", "b", "SendMessageBatchRequestEntry.2.MessageBody", "\x01")
	check(ok("SetQueueAttributes", ""), "Action", "SetQueueAttributes", "QueueUrl", q, "Attribute.Name", "DelaySeconds", "Attribute.Value", "1", "Attribute.1.Name", "DelaySeconds", "Attribute.1.Value", "1")
	check(ok("PurgeQueue", ""), "Action", "PurgeQueue", "QueueUrl", q)
	check(ok("DeleteQueue", ""), "Action", "DeleteQueue", "QueueUrl", q)
}

func TestAQueryToAQueuesURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	for _, query := range []string{"Action=SendMessage&MessageBody=x", "Action=SendMessage&MessageBody=y&Version=2012-11-05"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, q+"?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Options().HTTPClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(b), "<SendMessageResponse "+xmlns) {
			t.Errorf("%s: %d %s %v", query, resp.StatusCode, b, err)
		}
	}
	w.want(q, 10, "x y")
}

func TestErrorsOfTheQueryProtocol(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	w.create("q.fifo")
	for _, c := range []struct {
		parameters    []string
		code, message string
	}{
		{[]string{"Action", "FooBar"}, "InvalidAction", ""},
		{[]string{"Action", "SendMessage", "QueueUrl", q}, "MissingParameter", "The request must contain the parameter MessageBody."},
		{[]string{"Action", "SendMessage", "MessageBody", "x"}, "MissingParameter", "The request must contain the parameter QueueUrl."},
		{[]string{"Action", "GetQueueAttributes", "QueueUrl", q, "AttributeName.1", "Foobar"}, "InvalidAttributeName", "Unknown Attribute Foobar."},
		{[]string{"Action", "ReceiveMessage", "QueueUrl", q + "x"}, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist for this wsdl version."},
		{[]string{"Action", "ReceiveMessage", "QueueUrl", q, "MaxNumberOfMessages", "11"}, "InvalidParameterValue",
			"Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
		{[]string{"Action", "CreateQueue", "QueueName", "q", "Attribute.1.Name", "DelaySeconds", "Attribute.1.Value", "9"}, "QueueAlreadyExists",
			"A queue already exists with the same name and a different value for attribute DelaySeconds"},
		{[]string{"Action", "DeleteMessageBatch", "QueueUrl", q}, "AWS.SimpleQueueService.EmptyBatchRequest",
			"There should be at least one DeleteMessageBatchRequestEntry in the request."},
		{[]string{"Action", "DeleteMessage", "QueueUrl", q, "ReceiptHandle", "x"}, "ReceiptHandleIsInvalid", `The input receipt handle &#34;x&#34; is not a valid receipt handle.`},
		{[]string{"Action", "SendMessage", "QueueUrl", "q.fifo", "MessageBody", "x"}, "MissingParameter", "The request must contain the parameter MessageGroupId."},
	} {
		code, got := w.post(c.parameters...)
		want, wantCode := fmt.Sprintf("<Error><Type>Sender</Type><Code>%s</Code><Message>%s", c.code, c.message), 400
		if c.code == "ReceiptHandleIsInvalid" {
			wantCode = 404
		}
		if code != wantCode || !strings.Contains(got, want) || !strings.Contains(got, "<ErrorResponse "+xmlns) {
			t.Errorf("%v: %d %s", c.parameters, code, got)
		}
	}
}

func TestWhatIsLeftOutOfAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	q := w.create("q")
	call := func(operation, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
		r.Header.Set("Content-Type", "application/x-amz-json-1.0")
		resp, err := w.client.Options().HTTPClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if e := resp.Header.Get("X-Amzn-Query-Error"); e != "" {
			return e + " " + string(b)
		}
		return string(b)
	}
	at := `{"QueueUrl":"` + q + `"`
	for _, c := range [][3]string{
		{"ReceiveMessage", at + `}`, `{}`},
		{"ListQueueTags", at + `}`, `{}`},
		{"GetQueueAttributes", at + `}`, `{}`},
		{"PurgeQueue", at + `}`, ``},
		{"ListQueues", `{"QueueNamePrefix":"z"}`, `{}`},
		{"ListDeadLetterSourceQueues", at + `}`, `{"queueUrls":[]}`},
		{"PurgeQueue", `{}`, `MissingParameter;Sender {"__type":"com.amazonaws.sqs#MissingRequiredParameterException","message":"The request must contain the parameter QueueUrl."}`},
		{"PurgeQueue", at + `}`, `AWS.SimpleQueueService.PurgeQueueInProgress;Sender {"__type":"com.amazonaws.sqs#PurgeQueueInProgress","message":"Only one PurgeQueue operation on q is allowed every 60 seconds."}`},
		{"GetQueueUrl", `{"QueueName":"z"}`, `AWS.SimpleQueueService.NonExistentQueue;Sender {"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}`},
		{"ChangeMessageVisibility", at + `,"ReceiptHandle":"x"}`, `MissingParameter;Sender {"__type":"com.amazonaws.sqs#MissingRequiredParameterException","message":"The request must contain the parameter VisibilityTimeout."}`},
		{"ListMessageMoveTasks", `{"SourceArn":"` + w.arn(q) + `"}`, `{}`},
	} {
		if got := call(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s: %s\nwant %s", c[0], c[1], got, c[2])
		}
	}
	w.advance(time.Minute)
}
