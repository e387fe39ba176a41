package dynamodb

import (
	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/wire"
)

// The members of requests and answers, named as in https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/.

type attributeDefinition struct {
	AttributeName string
	AttributeType string
}

type keyElement struct {
	AttributeName string
	KeyType       string
}

type projection struct {
	ProjectionType   string   `json:",omitzero"`
	NonKeyAttributes []string `json:",omitzero"`
}

type throughput struct {
	ReadCapacityUnits  *int64
	WriteCapacityUnits *int64
}

type warmThroughput struct {
	ReadUnitsPerSecond  *int64
	WriteUnitsPerSecond *int64
}

type onDemandThroughput struct {
	MaxReadRequestUnits  *int64
	MaxWriteRequestUnits *int64
}

type localIndexInput struct {
	IndexName  string
	KeySchema  []keyElement
	Projection *projection
}

type globalIndexInput struct {
	IndexName             string
	KeySchema             []keyElement
	Projection            *projection
	ProvisionedThroughput *throughput
	OnDemandThroughput    *onDemandThroughput
	WarmThroughput        *warmThroughput
}

type streamSpecification struct {
	StreamEnabled  *bool  `json:",omitzero"`
	StreamViewType string `json:",omitzero"`
}

type sseSpecification struct {
	Enabled        *bool
	SSEType        string
	KMSMasterKeyID string `json:"KMSMasterKeyId"`
}

type tag struct {
	Key   string
	Value *string
}

type createTableInput struct {
	AttributeDefinitions      []attributeDefinition
	TableName                 string
	KeySchema                 []keyElement
	LocalSecondaryIndexes     []localIndexInput
	GlobalSecondaryIndexes    []globalIndexInput
	BillingMode               string
	ProvisionedThroughput     *throughput
	StreamSpecification       *streamSpecification
	SSESpecification          *sseSpecification
	Tags                      []tag
	TableClass                string
	DeletionProtectionEnabled bool
	WarmThroughput            *warmThroughput
	OnDemandThroughput        *onDemandThroughput

	ResourcePolicy                     string
	GlobalTableSourceArn               string
	GlobalTableSettingsReplicationMode string
	VectorIndexes                      []any
}

type indexUpdate struct {
	Create *globalIndexInput
	Update *globalIndexInput
	Delete *struct{ IndexName string }
}

type updateTableInput struct {
	TableName                   string
	AttributeDefinitions        []attributeDefinition
	BillingMode                 string
	ProvisionedThroughput       *throughput
	GlobalSecondaryIndexUpdates []indexUpdate
	StreamSpecification         *streamSpecification
	SSESpecification            *sseSpecification
	TableClass                  string
	DeletionProtectionEnabled   *bool
	OnDemandThroughput          *onDemandThroughput
	WarmThroughput              *warmThroughput

	ReplicaUpdates                     []any
	GlobalTableWitnessUpdates          []any
	MultiRegionConsistency             string
	GlobalTableSettingsReplicationMode string
	VectorIndexUpdates                 []any
	DisassociationProtectionEnabled    *bool
}

type throughputDescription struct {
	LastIncreaseDateTime   *wire.Time `json:",omitzero"`
	LastDecreaseDateTime   *wire.Time `json:",omitzero"`
	NumberOfDecreasesToday int64
	ReadCapacityUnits      int64
	WriteCapacityUnits     int64
}

type billingModeSummary struct {
	BillingMode                       string
	LastUpdateToPayPerRequestDateTime *wire.Time `json:",omitzero"`
}

type warmDescription struct {
	ReadUnitsPerSecond  int64
	Status              string
	WriteUnitsPerSecond int64
}

type indexDescription struct {
	IndexName      string
	KeySchema      []keyElement
	Projection     projection
	IndexSizeBytes int64
	ItemCount      int64
	IndexArn       string
}

type globalIndexDescription struct {
	indexDescription
	IndexStatus           string
	Backfilling           bool `json:",omitzero"`
	ProvisionedThroughput throughputDescription
	WarmThroughput        *warmDescription `json:",omitzero"`
}

type sseDescription struct {
	Status          string
	SSEType         string
	KMSMasterKeyArn string
}

type tableClassSummary struct {
	TableClass         string
	LastUpdateDateTime *wire.Time `json:",omitzero"`
}

type tableDescription struct {
	AttributeDefinitions      []attributeDefinition
	TableName                 string
	KeySchema                 []keyElement
	TableStatus               string
	CreationDateTime          wire.Time
	ProvisionedThroughput     throughputDescription
	TableSizeBytes            int64
	ItemCount                 int64
	TableArn                  string
	TableID                   string                   `json:"TableId"`
	BillingModeSummary        *billingModeSummary      `json:",omitzero"`
	LocalSecondaryIndexes     []indexDescription       `json:",omitzero"`
	GlobalSecondaryIndexes    []globalIndexDescription `json:",omitzero"`
	StreamSpecification       *streamSpecification     `json:",omitzero"`
	LatestStreamLabel         string                   `json:",omitzero"`
	LatestStreamArn           string                   `json:",omitzero"`
	SSEDescription            *sseDescription          `json:",omitzero"`
	TableClassSummary         *tableClassSummary       `json:",omitzero"`
	DeletionProtectionEnabled bool
	WarmThroughput            *warmDescription `json:",omitzero"`
}

type tableOutput struct{ TableDescription *tableDescription }

type describeTableOutput struct{ Table *tableDescription }

type tableInput struct{ TableName string }

type listTablesInput struct {
	ExclusiveStartTableName *string
	Limit                   *int64
}

type listTablesOutput struct {
	TableNames             []string
	LastEvaluatedTableName string `json:",omitzero"`
}

type timeToLiveSpecification struct {
	AttributeName string
	Enabled       *bool
}

type updateTimeToLiveInput struct {
	TableName               string
	TimeToLiveSpecification *timeToLiveSpecification
}

type updateTimeToLiveOutput struct{ TimeToLiveSpecification *timeToLiveSpecification }

type timeToLiveDescription struct {
	AttributeName    string `json:",omitzero"`
	TimeToLiveStatus string
}

type describeTimeToLiveOutput struct{ TimeToLiveDescription timeToLiveDescription }

type tagResourceInput struct {
	ResourceArn *string
	Tags        []tag
}

type untagResourceInput struct {
	ResourceArn *string
	TagKeys     []string
}

type listTagsInput struct {
	ResourceArn *string
	NextToken   string
}

type listTagsOutput struct {
	Tags      []tag
	NextToken string `json:",omitzero"`
}

type empty struct{}

type describeLimitsOutput struct {
	AccountMaxReadCapacityUnits  int64
	AccountMaxWriteCapacityUnits int64
	TableMaxReadCapacityUnits    int64
	TableMaxWriteCapacityUnits   int64
}

type endpoint struct {
	Address              string
	CachePeriodInMinutes int64
}

type describeEndpointsOutput struct{ Endpoints []endpoint }

type describeContinuousBackupsOutput struct {
	ContinuousBackupsDescription struct {
		ContinuousBackupsStatus        string
		PointInTimeRecoveryDescription struct{ PointInTimeRecoveryStatus string }
	}
}

// placeholders are the members that requests with expressions share.
type placeholders struct {
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues attr.Item
}

type expectedValue struct {
	Value              attr.Value
	Exists             *bool
	ComparisonOperator string
	AttributeValueList []attr.Value
}

type putItemInput struct {
	TableName                           string
	Item                                attr.Item
	Expected                            map[string]expectedValue
	ConditionalOperator                 string
	ReturnValues                        string
	ReturnConsumedCapacity              string
	ReturnItemCollectionMetrics         string
	ReturnValuesOnConditionCheckFailure string
	ConditionExpression                 *string
	placeholders                        `json:",inline"`
}

type deleteItemInput struct {
	TableName                           string
	Key                                 attr.Item
	Expected                            map[string]expectedValue
	ConditionalOperator                 string
	ReturnValues                        string
	ReturnConsumedCapacity              string
	ReturnItemCollectionMetrics         string
	ReturnValuesOnConditionCheckFailure string
	ConditionExpression                 *string
	placeholders                        `json:",inline"`
}

type attributeUpdate struct {
	Value  attr.Value
	Action string
}

type updateItemInput struct {
	TableName                           string
	Key                                 attr.Item
	AttributeUpdates                    map[string]attributeUpdate
	Expected                            map[string]expectedValue
	ConditionalOperator                 string
	ReturnValues                        string
	ReturnConsumedCapacity              string
	ReturnItemCollectionMetrics         string
	ReturnValuesOnConditionCheckFailure string
	UpdateExpression                    *string
	ConditionExpression                 *string
	placeholders                        `json:",inline"`
}

type writeOutput struct {
	Attributes            attr.Item          `json:",omitzero"`
	ConsumedCapacity      *consumedCapacity  `json:",omitzero"`
	ItemCollectionMetrics *collectionMetrics `json:",omitzero"`
}

type getItemInput struct {
	TableName                string
	Key                      attr.Item
	AttributesToGet          []string
	ConsistentRead           bool
	ReturnConsumedCapacity   string
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
}

type getItemOutput struct {
	Item             attr.Item         `json:",omitzero"`
	ConsumedCapacity *consumedCapacity `json:",omitzero"`
}

type capacity struct {
	CapacityUnits      float64
	ReadCapacityUnits  float64 `json:",omitzero"`
	WriteCapacityUnits float64 `json:",omitzero"`
}

type consumedCapacity struct {
	TableName string
	capacity
	Table                  *capacity           `json:",omitzero"`
	LocalSecondaryIndexes  map[string]capacity `json:",omitzero"`
	GlobalSecondaryIndexes map[string]capacity `json:",omitzero"`
}

type collectionMetrics struct {
	ItemCollectionKey   attr.Item
	SizeEstimateRangeGB []float64
}

type keysAndAttributes struct {
	Keys                     []attr.Item
	AttributesToGet          []string          `json:",omitzero"`
	ConsistentRead           bool              `json:",omitzero"`
	ProjectionExpression     *string           `json:",omitzero"`
	ExpressionAttributeNames map[string]string `json:",omitzero"`
}

type batchGetItemInput struct {
	RequestItems           map[string]keysAndAttributes
	ReturnConsumedCapacity string
}

type batchGetItemOutput struct {
	Responses        map[string][]attr.Item
	UnprocessedKeys  map[string]keysAndAttributes
	ConsumedCapacity []*consumedCapacity `json:",omitzero"`
}

type writeRequest struct {
	PutRequest    *struct{ Item attr.Item } `json:",omitzero"`
	DeleteRequest *struct{ Key attr.Item }  `json:",omitzero"`
}

type batchWriteItemInput struct {
	RequestItems                map[string][]writeRequest
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
}

type batchWriteItemOutput struct {
	UnprocessedItems      map[string][]writeRequest
	ItemCollectionMetrics map[string][]*collectionMetrics `json:",omitzero"`
	ConsumedCapacity      []*consumedCapacity             `json:",omitzero"`
}

// transactWrite is what the four kinds of actions have in common: Key or Item, and UpdateExpression, tell them apart.
type transactWrite struct {
	TableName                           string            `json:",omitzero"`
	Key                                 attr.Item         `json:",omitzero"`
	Item                                attr.Item         `json:",omitzero"`
	UpdateExpression                    *string           `json:",omitzero"`
	ConditionExpression                 *string           `json:",omitzero"`
	ReturnValuesOnConditionCheckFailure string            `json:",omitzero"`
	ExpressionAttributeNames            map[string]string `json:",omitzero"`
	ExpressionAttributeValues           attr.Item         `json:",omitzero"`
}

type transactWriteItem struct {
	ConditionCheck *transactWrite `json:",omitzero"`
	Put            *transactWrite `json:",omitzero"`
	Delete         *transactWrite `json:",omitzero"`
	Update         *transactWrite `json:",omitzero"`
}

type transactWriteItemsInput struct {
	TransactItems               []transactWriteItem
	ReturnConsumedCapacity      string
	ReturnItemCollectionMetrics string
	ClientRequestToken          *string
}

type transactWriteItemsOutput struct {
	ConsumedCapacity      []*consumedCapacity             `json:",omitzero"`
	ItemCollectionMetrics map[string][]*collectionMetrics `json:",omitzero"`
}

type transactGet struct {
	TableName                string
	Key                      attr.Item
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
}

type transactGetItemsInput struct {
	TransactItems          []struct{ Get *transactGet }
	ReturnConsumedCapacity string
}

type itemResponse struct {
	Item attr.Item `json:",omitzero"`
}

type transactGetItemsOutput struct {
	ConsumedCapacity []*consumedCapacity `json:",omitzero"`
	Responses        []itemResponse
}

type cancellationReason struct {
	Code    string
	Item    attr.Item `json:",omitzero"`
	Message string    `json:",omitzero"`
}

type condition struct {
	AttributeValueList []attr.Value
	ComparisonOperator string
}

// readInput is what Query and Scan have in common.
type readInput struct {
	TableName              string
	IndexName              *string
	Select                 string
	AttributesToGet        []string
	Limit                  *int64
	ConsistentRead         bool
	ConditionalOperator    string
	ExclusiveStartKey      attr.Item
	ReturnConsumedCapacity string
	ProjectionExpression   *string
	FilterExpression       *string
	placeholders           `json:",inline"`
}

type queryInput struct {
	readInput              `json:",inline"`
	KeyConditions          map[string]condition
	QueryFilter            map[string]condition
	ScanIndexForward       *bool
	KeyConditionExpression *string
}

type scanInput struct {
	readInput     `json:",inline"`
	ScanFilter    map[string]condition
	TotalSegments *int64
	Segment       *int64
}

type readOutput struct {
	Items            []attr.Item `json:",omitzero"`
	Count            int
	ScannedCount     int
	LastEvaluatedKey attr.Item         `json:",omitzero"`
	ConsumedCapacity *consumedCapacity `json:",omitzero"`
}
