package sqs

// Inputs and outputs of the operations, as
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html has them. A pointer is a
// member whose absence differs from its zero value.

type createQueueInput struct {
	QueueName  string            `json:"QueueName"`
	Attributes map[string]string `json:"Attributes" query:"Attribute,flat,Name,Value"`
	Tags       map[string]string `json:"tags" query:"Tag,flat,Key,Value"`
}

type queueURLOutput struct {
	QueueURL string `json:"QueueUrl"`
}

type queueInput struct {
	QueueURL string `json:"QueueUrl"`
}

type getQueueURLInput struct {
	QueueName string `json:"QueueName"`
	Owner     string `json:"QueueOwnerAWSAccountId"`
}

type listQueuesInput struct {
	Prefix     string `json:"QueueNamePrefix"`
	NextToken  string `json:"NextToken"`
	MaxResults *int32 `json:"MaxResults"`
}

type listQueuesOutput struct {
	QueueURLs []string `json:"QueueUrls,omitempty" query:"QueueUrl,flat"`
	NextToken string   `json:"NextToken,omitempty"`
}

type listSourcesInput struct {
	QueueURL   string `json:"QueueUrl"`
	NextToken  string `json:"NextToken"`
	MaxResults *int32 `json:"MaxResults"`
}

type listSourcesOutput struct {
	QueueURLs []string `json:"queueUrls" query:"QueueUrl,flat"`
	NextToken string   `json:"NextToken,omitempty"`
}

type getAttributesInput struct {
	QueueURL string   `json:"QueueUrl"`
	Names    []string `json:"AttributeNames" query:"AttributeName,flat"`
}

type getAttributesOutput struct {
	Attributes map[string]string `json:"Attributes,omitempty" query:"Attribute,flat,Name,Value"`
}

type setAttributesInput struct {
	QueueURL   string            `json:"QueueUrl"`
	Attributes map[string]string `json:"Attributes" query:"Attribute,flat,Name,Value"`
}

type addPermissionInput struct {
	QueueURL string   `json:"QueueUrl"`
	Label    string   `json:"Label"`
	Accounts []string `json:"AWSAccountIds" query:"AWSAccountId,flat"`
	Actions  []string `json:"Actions" query:"ActionName,flat"`
}

type removePermissionInput struct {
	QueueURL string `json:"QueueUrl"`
	Label    string `json:"Label"`
}

type tagInput struct {
	QueueURL string            `json:"QueueUrl"`
	Tags     map[string]string `json:"Tags" query:"Tag,flat,Key,Value"`
}

type untagInput struct {
	QueueURL string   `json:"QueueUrl"`
	Keys     []string `json:"TagKeys" query:"TagKey,flat"`
}

type listTagsOutput struct {
	Tags map[string]string `json:"Tags,omitempty" query:"Tag,flat,Key,Value"`
}

type messageAttribute struct {
	StringValue      *string  `json:"StringValue,omitzero"`
	BinaryValue      []byte   `json:"BinaryValue,omitzero"`
	StringListValues []string `json:"StringListValues,omitzero" query:"StringListValue,flat"`
	BinaryListValues [][]byte `json:"BinaryListValues,omitzero" query:"BinaryListValue,flat"`
	DataType         string   `json:"DataType"`
}

type sendMessageInput struct {
	QueueURL         string                      `json:"QueueUrl"`
	Body             string                      `json:"MessageBody"`
	DelaySeconds     *int32                      `json:"DelaySeconds"`
	Attributes       map[string]messageAttribute `json:"MessageAttributes" query:"MessageAttribute,flat,Name,Value"`
	SystemAttributes map[string]messageAttribute `json:"MessageSystemAttributes" query:"MessageSystemAttribute,flat,Name,Value"`
	DeduplicationID  *string                     `json:"MessageDeduplicationId"`
	GroupID          *string                     `json:"MessageGroupId"`
}

type sendMessageOutput struct {
	MD5OfBody             string `json:"MD5OfMessageBody"`
	MD5OfAttributes       string `json:"MD5OfMessageAttributes,omitempty"`
	MD5OfSystemAttributes string `json:"MD5OfMessageSystemAttributes,omitempty"`
	MessageID             string `json:"MessageId"`
	SequenceNumber        string `json:"SequenceNumber,omitempty"`
}

type sendBatchInput struct {
	QueueURL string      `json:"QueueUrl"`
	Entries  []sendEntry `json:"Entries" query:"SendMessageBatchRequestEntry,flat"`
}

type sendEntry struct {
	ID               string                      `json:"Id"`
	Body             string                      `json:"MessageBody"`
	DelaySeconds     *int32                      `json:"DelaySeconds"`
	Attributes       map[string]messageAttribute `json:"MessageAttributes" query:"MessageAttribute,flat,Name,Value"`
	SystemAttributes map[string]messageAttribute `json:"MessageSystemAttributes" query:"MessageSystemAttribute,flat,Name,Value"`
	DeduplicationID  *string                     `json:"MessageDeduplicationId"`
	GroupID          *string                     `json:"MessageGroupId"`
}

type sendBatchOutput struct {
	Successful []sendResult  `json:"Successful,omitempty" query:"SendMessageBatchResultEntry,flat"`
	Failed     []failedEntry `json:"Failed,omitempty" query:"BatchResultErrorEntry,flat"`
}

type sendResult struct {
	ID                    string `json:"Id"`
	MessageID             string `json:"MessageId"`
	MD5OfBody             string `json:"MD5OfMessageBody"`
	MD5OfAttributes       string `json:"MD5OfMessageAttributes,omitempty"`
	MD5OfSystemAttributes string `json:"MD5OfMessageSystemAttributes,omitempty"`
	SequenceNumber        string `json:"SequenceNumber,omitempty"`
}

type failedEntry struct {
	ID          string `json:"Id"`
	SenderFault bool   `json:"SenderFault"`
	Code        string `json:"Code"`
	Message     string `json:"Message,omitempty"`
}

type receiveInput struct {
	QueueURL             string   `json:"QueueUrl"`
	AttributeNames       []string `json:"AttributeNames" query:"AttributeName,flat"`
	SystemAttributeNames []string `json:"MessageSystemAttributeNames" query:"MessageSystemAttributeName,flat"`
	MessageAttributes    []string `json:"MessageAttributeNames" query:"MessageAttributeName,flat"`
	MaxNumberOfMessages  *int32   `json:"MaxNumberOfMessages"`
	VisibilityTimeout    *int32   `json:"VisibilityTimeout"`
	WaitTimeSeconds      *int32   `json:"WaitTimeSeconds"`
	AttemptID            *string  `json:"ReceiveRequestAttemptId"`
}

type receiveOutput struct {
	Messages []receivedMessage `json:"Messages,omitempty" query:"Message,flat"`
}

type receivedMessage struct {
	MessageID         string                      `json:"MessageId"`
	ReceiptHandle     string                      `json:"ReceiptHandle"`
	MD5OfBody         string                      `json:"MD5OfBody"`
	Body              string                      `json:"Body"`
	Attributes        map[string]string           `json:"Attributes,omitempty" query:"Attribute,flat,Name,Value"`
	MD5OfAttributes   string                      `json:"MD5OfMessageAttributes,omitempty"`
	MessageAttributes map[string]messageAttribute `json:"MessageAttributes,omitempty" query:"MessageAttribute,flat,Name,Value"`
}

type deleteMessageInput struct {
	QueueURL      string `json:"QueueUrl"`
	ReceiptHandle string `json:"ReceiptHandle"`
}

type deleteBatchInput struct {
	QueueURL string        `json:"QueueUrl"`
	Entries  []deleteEntry `json:"Entries" query:"DeleteMessageBatchRequestEntry,flat"`
}

type deleteEntry struct {
	ID            string `json:"Id"`
	ReceiptHandle string `json:"ReceiptHandle"`
}

type deleteBatchOutput struct {
	Successful []doneEntry   `json:"Successful,omitempty" query:"DeleteMessageBatchResultEntry,flat"`
	Failed     []failedEntry `json:"Failed,omitempty" query:"BatchResultErrorEntry,flat"`
}

type doneEntry struct {
	ID string `json:"Id"`
}

type changeVisibilityInput struct {
	QueueURL          string `json:"QueueUrl"`
	ReceiptHandle     string `json:"ReceiptHandle"`
	VisibilityTimeout *int32 `json:"VisibilityTimeout"`
}

type changeBatchInput struct {
	QueueURL string        `json:"QueueUrl"`
	Entries  []changeEntry `json:"Entries" query:"ChangeMessageVisibilityBatchRequestEntry,flat"`
}

type changeEntry struct {
	ID                string `json:"Id"`
	ReceiptHandle     string `json:"ReceiptHandle"`
	VisibilityTimeout *int32 `json:"VisibilityTimeout"`
}

type changeBatchOutput struct {
	Successful []doneEntry   `json:"Successful,omitempty" query:"ChangeMessageVisibilityBatchResultEntry,flat"`
	Failed     []failedEntry `json:"Failed,omitempty" query:"BatchResultErrorEntry,flat"`
}

type startMoveInput struct {
	SourceARN      string `json:"SourceArn"`
	DestinationARN string `json:"DestinationArn"`
	PerSecond      *int32 `json:"MaxNumberOfMessagesPerSecond"`
}

type startMoveOutput struct {
	TaskHandle string `json:"TaskHandle"`
}

type cancelMoveInput struct {
	TaskHandle string `json:"TaskHandle"`
}

type cancelMoveOutput struct {
	Moved int64 `json:"ApproximateNumberOfMessagesMoved"`
}

type listMovesInput struct {
	SourceARN  string `json:"SourceArn"`
	MaxResults *int32 `json:"MaxResults"`
}

type listMovesOutput struct {
	Results []moveResult `json:"Results,omitempty" query:"ListMessageMoveTasksResultEntry,flat"`
}

type moveResult struct {
	TaskHandle       string `json:"TaskHandle,omitempty"`
	Status           string `json:"Status"`
	SourceARN        string `json:"SourceArn"`
	DestinationARN   string `json:"DestinationArn,omitempty"`
	PerSecond        int32  `json:"MaxNumberOfMessagesPerSecond,omitzero"`
	Moved            int64  `json:"ApproximateNumberOfMessagesMoved"`
	ToMove           int64  `json:"ApproximateNumberOfMessagesToMove"`
	FailureReason    string `json:"FailureReason,omitempty"`
	StartedTimestamp int64  `json:"StartedTimestamp"`
}
