package dynamodb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// indexed adds a global index on g (and a local one on l) to a table with the keys pk and sk.
func indexed(in *ddb.CreateTableInput) {
	for _, a := range []struct {
		name string
		typ  types.ScalarAttributeType
	}{{"g", types.ScalarAttributeTypeS}, {"h", types.ScalarAttributeTypeN}, {"l", types.ScalarAttributeTypeN}} {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: aws.String(a.name), AttributeType: a.typ})
	}
	key := func(hash, sort string) []types.KeySchemaElement {
		list := []types.KeySchemaElement{{AttributeName: aws.String(hash), KeyType: types.KeyTypeHash}}
		if sort != "" {
			list = append(list, types.KeySchemaElement{AttributeName: aws.String(sort), KeyType: types.KeyTypeRange})
		}
		return list
	}
	in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{
		{IndexName: aws.String("by-g"), KeySchema: key("g", "h"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll}, ProvisionedThroughput: in.ProvisionedThroughput},
		{IndexName: aws.String("few"), KeySchema: key("g", ""), Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"x"}},
			ProvisionedThroughput: in.ProvisionedThroughput},
	}
	in.LocalSecondaryIndexes = []types.LocalSecondaryIndex{
		{IndexName: aws.String("by-l"), KeySchema: key("pk", "l"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}},
	}
}

const (
	validation = "ValidationException"
	shape      = "1 validation error detected: Value "
	wrongParam = "One or more parameter values were invalid: "
)

// Every refusal that DynamoDB has a message for has that message.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "hash", "id:S", "")
	w.table(t, "full", "pk:S sk:N", "", indexed)
	w.table(t, "bin", "b:B", "")
	big := strings.Repeat("x", 400<<10)
	many := func(n int, f func(i int) string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = f(i)
		}
		return strings.Join(list, ",")
	}
	key := func(i int) string { return fmt.Sprintf(`{"id":{"S":"%d"}}`, i) }
	for _, c := range []struct{ operation, body, code, message string }{
		// All operations.
		{"PutItem", `{`, "SerializationException", "The request is not valid JSON at byte 1: unexpected EOF"},
		{"PutItem", `{"TableName":1}`, "SerializationException", "NUMBER_VALUE can not be converted to String (at /TableName)"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":1}}}`, "SerializationException", "NUMBER_VALUE can not be converted to String (at /Item/id/S)"},
		{"PutItem", `{"TableName":"hash","Item":{"id":[]}}`, "SerializationException", "Start of list found where not expected (at /Item/id)"},
		{"PutItem", `{"TableName":"hash","Item":[]}`, "SerializationException", "Start of list found where not expected (at /Item)"},
		{"ExecuteStatement", `{}`, "UnknownOperationException", "millrace's local stack does not have the operation ExecuteStatement of DynamoDB_20120810."},

		// Items.
		{"PutItem", `{}`, validation, "2 validation errors detected: Value null at 'tableName' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'item' failed to satisfy constraint: Member must not be null"},
		{"PutItem", `{"TableName":"a;","Item":{}}`, validation, "2 validation errors detected: Value 'a;' at 'tableName' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value 'a;' at 'tableName' failed to satisfy constraint: " +
			"Member must have length greater than or equal to 3"},
		{"PutItem", `{"TableName":"hash","Item":{},"ReturnValues":"X"}`, validation, shape + "'X' at 'returnValues' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"},
		{"PutItem", `{"TableName":"hash","Item":{},"ReturnConsumedCapacity":"X"}`, validation, shape + "'X' at 'returnConsumedCapacity' failed to satisfy constraint: " +
			"Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ReturnValues":"ALL_NEW"}`, validation, "ReturnValues can only be ALL_OLD or NONE"},
		{"PutItem", `{"TableName":"none","Item":{"id":{"S":"a"}}}`, "ResourceNotFoundException", "Requested resource not found"},
		{"PutItem", `{"TableName":"hash","Item":{}}`, validation, wrongParam + "Missing the key id in the item"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"N":"1"}}}`, validation, wrongParam + "Type mismatch for key id expected: S actual: N"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":""}}}`, validation, "One or more parameter values are not valid. " +
			"The AttributeValue for a key attribute cannot contain an empty string value. Key: id"},
		{"PutItem", `{"TableName":"bin","Item":{"b":{"B":""}}}`, validation, "One or more parameter values are not valid. " +
			"The AttributeValue for a key attribute cannot contain an empty binary value. Key: b"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"` + big[:2049] + `"}}}`, validation, wrongParam + "Size of hashkey has exceeded the maximum size limit of2048 bytes"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"},"x":{"S":"` + big + `"}}}`, validation, "Item size has exceeded the maximum allowed size"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"},"x":{"NS":["1","1.0"]}}}`, validation, "Input collection contains duplicates"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"},"x":{}}}`, validation, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
		{"PutItem", `{"TableName":"full","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"N":"1"}}}`, validation,
			wrongParam + "Type mismatch for Index Key g Expected: S Actual: N IndexName: by-g"},
		{"PutItem", `{"TableName":"full","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"g":{"S":""}}}`, validation, "One or more parameter values are not valid. " +
			"A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by-g, IndexKey: g"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"Expected":{"x":{"Exists":false}},"ConditionExpression":"a = b"}`, validation,
			"Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ExpressionAttributeNames":{"#a":"a"}}`, validation, "ExpressionAttributeNames can only be specified when using expressions"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			"ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ConditionExpression":""}`, validation, "Invalid ConditionExpression: The expression can not be empty;"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ConditionExpression":"a = :a","ExpressionAttributeValues":{":a":{"S":""},":b":{"S":""}}}`, validation,
			"Value provided in ExpressionAttributeValues unused in expressions: keys: {:b}"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ConditionExpression":"id.x = :a","ExpressionAttributeValues":{":a":{"S":""}}}`, validation,
			"Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: id"},
		{"PutItem", `{"TableName":"hash","Item":{"id":{"S":"a"}},"ConditionExpression":"attribute_exists(id)"}`, "ConditionalCheckFailedException", "The conditional request failed"},

		{"GetItem", `{"TableName":"hash"}`, validation, shape + "null at 'key' failed to satisfy constraint: Member must not be null"},
		{"GetItem", `{"TableName":"hash","Key":{}}`, validation, "The provided key element does not match the schema"},
		{"GetItem", `{"TableName":"hash","Key":{"id":{"N":"1"}}}`, validation, "The provided key element does not match the schema"},
		{"GetItem", `{"TableName":"hash","Key":{"id":{"S":"1"},"x":{"S":"1"}}}`, validation, "The provided key element does not match the schema"},
		{"GetItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributesToGet":["a","a"]}`, validation, wrongParam + "Duplicate value in attribute name: a"},
		{"GetItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributesToGet":[]}`, validation, shape + "'[]' at 'attributesToGet' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"GetItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"ProjectionExpression":"id[1]"}`, validation,
			"Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: id"},
		{"GetItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"ProjectionExpression":"#a"}`, validation,
			"Invalid ProjectionExpression: An expression attribute name used in the document path is not defined; attribute name: #a"},

		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"UpdateExpression":"SET id = :a","ExpressionAttributeValues":{":a":{"S":"b"}}}`, validation,
			wrongParam + "Cannot update attribute id. This attribute is part of the key"},
		{"UpdateItem", `{"TableName":"full","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"UpdateExpression":"SET g = :a","ExpressionAttributeValues":{":a":{"N":"1"}}}`, validation,
			wrongParam + "Type mismatch for Index Key g Expected: S Actual: N IndexName: by-g"},
		{"UpdateItem", `{"TableName":"full","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"UpdateExpression":"SET g = :a","ExpressionAttributeValues":{":a":{"S":""}}}`, validation,
			"One or more parameter values are not valid. The update expression attempted to update a secondary index key to a value that is not supported. " +
				"The AttributeValue for a key attribute cannot contain an empty string value."},
		{"UpdateItem", `{"TableName":"full","Key":{"pk":{"S":"a"},"sk":{"N":"1"}},"UpdateExpression":"SET g.x = :a","ExpressionAttributeValues":{":a":{"S":""}}}`, validation,
			"Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: IndexKey: g"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"UpdateExpression":"SET x.y = :a","ExpressionAttributeValues":{":a":{"S":"b"}}}`, validation,
			"The document path provided in the update expression is invalid for update"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"UpdateExpression":"SET x = y"}`, validation,
			"The provided expression refers to an attribute that does not exist in the item"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"UpdateExpression":"SET x = :a","ExpressionAttributeValues":{":a":{"S":"` + big + `"}}}`, validation,
			"Item size to update has exceeded the maximum allowed size"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributeUpdates":{"x":{"Action":"PUT"}}}`, validation,
			wrongParam + "Only DELETE action is allowed when no attribute value is specified"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributeUpdates":{"x":{"Action":"DELETE","Value":{"S":"a"}}}}`, validation,
			wrongParam + "DELETE action with value is not supported for the type S"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributeUpdates":{"x":{"Action":"ADD","Value":{"S":"a"}}}}`, validation,
			wrongParam + "ADD action is not supported for the type S"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributeUpdates":{"x":{"Action":"X","Value":{"S":"a"}}}}`, validation,
			shape + "'X' at 'attributeUpdates.x.member.action' failed to satisfy constraint: Member must satisfy enum value set: [ADD, PUT, DELETE]"},
		{"UpdateItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"AttributeUpdates":{},"ConditionExpression":"a = b"}`, validation,
			"Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributeUpdates} Expression parameters: {ConditionExpression}"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"ReturnValues":"UPDATED_OLD"}`, validation, "ReturnValues can only be ALL_OLD or NONE"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"ConditionExpression":"x = :x","ExpressionAttributeValues":{":x":{"S":"a"}}}`,
			"ConditionalCheckFailedException", "The conditional request failed"},

		// Expected.
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{}}}`, validation, wrongParam + "Value must be provided when Exists is null for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"Exists":true}}}`, validation, wrongParam + "Value must be provided when Exists is true for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"Exists":false,"Value":{"S":"a"}}}}`, validation,
			wrongParam + "Value cannot be used when Exists is false for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"EQ","Exists":false}}}`, validation,
			wrongParam + "Exists and ComparisonOperator cannot be used together for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"EQ"}}}`, validation,
			wrongParam + "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"S":"a"}]}}}`, validation,
			wrongParam + "Invalid number of argument(s) for the BETWEEN ComparisonOperator"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"BETWEEN","AttributeValueList":[{"S":"b"},{"S":"a"}]}}}`, validation,
			"The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"IN","AttributeValueList":[{"S":"b"},{"N":"1"}]}}}`, validation,
			wrongParam + "AttributeValues inside AttributeValueList must be of same type"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"ComparisonOperator":"LT","AttributeValueList":[{"BOOL":true}]}}}`, validation,
			wrongParam + "ComparisonOperator LT is not valid for BOOL AttributeValue type"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"AttributeValueList":[{"S":"a"}]}}}`, validation,
			wrongParam + "AttributeValueList can only be used with a ComparisonOperator for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"Expected":{"x":{"Value":{"S":"a"},"AttributeValueList":[{"S":"a"}]}}}`, validation,
			wrongParam + "Value and AttributeValueList cannot be used together for Attribute: x"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"ConditionalOperator":"AND"}`, validation, wrongParam + "ConditionalOperator cannot be used without Filter or Expected"},
		{"DeleteItem", `{"TableName":"hash","Key":{"id":{"S":"a"}},"ConditionalOperator":"AND","Expected":{"x":{"Value":{"S":"a"}}}}`, validation,
			wrongParam + "ConditionalOperator can only be used when Filter or Expected has two or more elements"},

		// Queries and scans.
		{"Query", `{"TableName":"full"}`, validation, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."},
		{"Query", `{"TableName":"full","KeyConditionExpression":"pk > :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation, "Query key condition not supported"},
		{"Query", `{"TableName":"full","KeyConditionExpression":"sk = :a","ExpressionAttributeValues":{":a":{"N":"1"}}}`, validation, "Query condition missed key schema element: pk"},
		{"Query", `{"TableName":"full","KeyConditionExpression":"pk = :a AND x = :a","ExpressionAttributeValues":{":a":{"S":"1"}}}`, validation, "Query condition missed key schema element: sk"},
		{"Query", `{"TableName":"full","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"N":"1"}}}`, validation,
			wrongParam + "Condition parameter type does not match schema type"},
		{"Query", `{"TableName":"full","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":""}}}`, validation,
			"One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: pk"},
		{"Query", `{"TableName":"hash","KeyConditionExpression":"id = :a AND x = :a","ExpressionAttributeValues":{":a":{"S":"1"}}}`, validation, "Query key condition not supported"},
		{"Query", `{"TableName":"full","KeyConditions":{"pk":{"ComparisonOperator":"NE","AttributeValueList":[{"S":"a"}]}}}`, validation,
			"Attempted conditional constraint is not an indexable operation"},
		{"Query", `{"TableName":"full","KeyConditions":{}}`, validation, "Conditions can be of length 1 or 2 only"},
		{"Query", `{"TableName":"full","IndexName":"none","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			"The table does not have the specified index: none"},
		{"Query", `{"TableName":"full","IndexName":"by-g","ConsistentRead":true,"KeyConditionExpression":"g = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			"Consistent reads are not supported on global secondary indexes"},
		{"Query", `{"TableName":"full","IndexName":"few","Select":"ALL_ATTRIBUTES","KeyConditionExpression":"g = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			wrongParam + "Select type ALL_ATTRIBUTES is not supported for global secondary index few because its projection type is not ALL"},
		{"Query", `{"TableName":"full","IndexName":"few","ProjectionExpression":"x, y","KeyConditionExpression":"g = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			wrongParam + "Global secondary index few does not project [y]"},
		{"Query", `{"TableName":"full","FilterExpression":"sk = :b","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"},":b":{"N":"1"}}}`, validation,
			"Filter Expression can only contain non-primary key attributes: Primary key attribute: sk"},
		{"Query", `{"TableName":"full","QueryFilter":{"sk":{"ComparisonOperator":"NULL"}},"KeyConditions":{"pk":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"}]}}}`, validation,
			"QueryFilter can only contain non-primary key attributes: Primary key attribute: sk"},
		{"Query", `{"TableName":"full","Limit":0,"KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			shape + "'0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"Query", `{"TableName":"full","Select":"SPECIFIC_ATTRIBUTES","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			wrongParam + "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"},
		{"Query", `{"TableName":"full","Select":"ALL_PROJECTED_ATTRIBUTES","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			wrongParam + "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName"},
		{"Query", `{"TableName":"full","Select":"COUNT","ProjectionExpression":"x","KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			wrongParam + "Cannot specify the ProjectionExpression when choosing to get COUNT"},
		{"Query", `{"TableName":"full","ExclusiveStartKey":{"pk":{"S":"b"},"sk":{"N":"1"}},"KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			"The provided starting key is outside query boundaries based on provided conditions"},
		{"Query", `{"TableName":"full","ExclusiveStartKey":{"pk":{"S":"a"},"sk":{"N":"1"}},"KeyConditionExpression":"pk = :a AND sk > :b",
			"ExpressionAttributeValues":{":a":{"S":"a"},":b":{"N":"1"}}}`, validation, "The provided starting key does not match the range key predicate"},
		{"Query", `{"TableName":"full","ExclusiveStartKey":{"pk":{"S":"a"}},"KeyConditionExpression":"pk = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`, validation,
			"The provided starting key is invalid: The provided key element does not match the schema"},
		{"Query", `{"TableName":"full","IndexName":"by-g","ExclusiveStartKey":{"pk":{"S":"a"},"sk":{"N":"1"}},"KeyConditionExpression":"g = :a","ExpressionAttributeValues":{":a":{"S":"a"}}}`,
			validation, "The provided starting key is invalid"},
		{"Scan", `{"TableName":"none"}`, "ResourceNotFoundException", "Requested resource not found"},
		{"Scan", `{"TableName":"hash","Segment":1}`, validation,
			"The TotalSegments parameter is required but was not present in the request when Segment parameter is present"},
		{"Scan", `{"TableName":"hash","TotalSegments":1}`, validation,
			"The Segment parameter is required but was not present in the request when parameter TotalSegments is present"},
		{"Scan", `{"TableName":"hash","TotalSegments":2,"Segment":2}`, validation,
			"The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 2 is not less than TotalSegments: 2"},
		{"Scan", `{"TableName":"hash","ScanFilter":{"x":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"a"},{"S":"b"}]}}}`, validation,
			wrongParam + "Invalid number of argument(s) for the EQ ComparisonOperator"},
		{"Scan", `{"TableName":"hash","ScanFilter":{"x":{}}}`, validation, shape + "null at 'scanFilter.x.member.comparisonOperator' failed to satisfy constraint: Member must not be null"},
		{"Scan", `{"TableName":"hash","FilterExpression":"a =","AttributesToGet":["a"]}`, validation,
			"Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {AttributesToGet} Expression parameters: {FilterExpression}"},
		{"Scan", `{"TableName":"hash","FilterExpression":"a ="}`, validation, `Invalid FilterExpression: Syntax error; token: "<EOF>", near: "="`},

		// Batches.
		{"BatchGetItem", `{}`, validation, shape + "null at 'requestItems' failed to satisfy constraint: Member must not be null"},
		{"BatchGetItem", `{"RequestItems":{}}`, validation, shape + "'{}' at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"BatchGetItem", `{"RequestItems":{"hash":{"Keys":[` + many(101, key) + `]}}}`, validation,
			shape + "'[...]' at 'requestItems.hash.member.keys' failed to satisfy constraint: Member must have length less than or equal to 100"},
		{"BatchGetItem", `{"RequestItems":{"hash":{"Keys":[` + many(60, key) + `]},"none":{"Keys":[` + many(60, key) + `]}}}`, validation,
			"Too many items requested for the BatchGetItem call"},
		{"BatchGetItem", `{"RequestItems":{"hash":{"Keys":[{"id":{"S":"a"}},{"id":{"S":"a"}}]}}}`, validation, "Provided list of item keys contains duplicates"},
		{"BatchGetItem", `{"RequestItems":{"none":{"Keys":[{"id":{"S":"a"}}]}}}`, "ResourceNotFoundException", "Requested resource not found"},
		{"BatchWriteItem", `{"RequestItems":{"hash":[` + many(26, func(i int) string { return `{"DeleteRequest":{"Key":` + key(i) + `}}` }) + `]}}`, validation,
			shape + "'[...]' at 'requestItems.hash' failed to satisfy constraint: Member must have length less than or equal to 25"},
		{"BatchWriteItem", `{"RequestItems":{"hash":[{"DeleteRequest":{"Key":{"id":{"S":"a"}}}},{"PutRequest":{"Item":{"id":{"S":"a"}}}}]}}`, validation,
			"Provided list of item keys contains duplicates"},
		{"BatchWriteItem", `{"RequestItems":{"hash":[{}]}}`, validation,
			"Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"},
		{"BatchWriteItem", `{"RequestItems":{"hash":[{"PutRequest":{"Item":{"x":{"S":"a"}}}}]}}`, validation, "The provided key element does not match the schema"},

		// Transactions.
		{"TransactWriteItems", `{"TransactItems":[]}`, validation, shape + "'[]' at 'transactItems' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"TransactWriteItems", `{"TransactItems":[{}]}`, validation, "TransactItems can only contain one of Check, Put, Update or Delete"},
		{"TransactWriteItems", `{"TransactItems":[` + many(101, func(i int) string { return `{"Delete":{"TableName":"hash","Key":` + key(i) + `}}` }) + `]}`, validation,
			shape + "'[...]' at 'transactItems' failed to satisfy constraint: Member must have length less than or equal to 100"},
		{"TransactWriteItems", `{"TransactItems":[{"ConditionCheck":{"TableName":"hash","Key":{"id":{"S":"a"}}}}]}`, validation,
			shape + "null at 'transactItems.1.member.conditionCheck.conditionExpression' failed to satisfy constraint: Member must not be null"},
		{"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"hash","Item":{"id":{"S":"a"}}}},{"Delete":{"TableName":"hash","Key":{"id":{"S":"a"}}}}]}`, validation,
			"Transaction request cannot include multiple operations on one item"},
		{"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"hash","Item":{"id":{"S":"a"}}}}],"ClientRequestToken":"` + big[:37] + `"}`, validation,
			shape + "'" + big[:37] + "' at 'clientRequestToken' failed to satisfy constraint: Member must have length less than or equal to 36"},
		{"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"none","Item":{"id":{"S":"a"}}}}]}`, "ResourceNotFoundException", "Requested resource not found"},
		{"TransactWriteItems", `{"TransactItems":[{"Put":{"TableName":"hash","Item":{"x":{"S":"a"}}}}]}`, "TransactionCanceledException",
			"Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError]"},
		{"TransactWriteItems", `{"TransactItems":[` + many(20, func(i int) string {
			return fmt.Sprintf(`{"Put":{"TableName":"hash","Item":{"id":{"S":"%d"},"x":{"S":"%s"}}}}`, i, big[:300<<10])
		}) + `]}`, validation, "Transaction payload size cannot exceed 4194304 bytes"},
		{"TransactGetItems", `{"TransactItems":[{}]}`, validation, shape + "null at 'transactItems.1.member.get' failed to satisfy constraint: Member must not be null"},
		{"TransactGetItems", `{"TransactItems":[{"Get":{"TableName":"hash","Key":{}}}]}`, "TransactionCanceledException",
			"Transaction cancelled, please refer cancellation reasons for specific reasons [ValidationError]"},
	} {
		w.refuses(t, c.operation, c.body, c.code, c.message)
	}
	// None of that has done anything.
	w.answers(t, "Scan", `{"TableName":"hash"}`, `{"Count":0,"ScannedCount":0,"Items":[]}`)
	w.answers(t, "Scan", `{"TableName":"full"}`, `{"Count":0,"ScannedCount":0,"Items":[]}`)
}

func TestTablesThatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.table(t, "there", "id:S", "")
	const units = `"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}`
	const id = `"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]`
	const two = `"AttributeDefinitions":[{"AttributeName":"a","AttributeType":"S"},{"AttributeName":"b","AttributeType":"S"}],` +
		`"KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}]`
	for _, c := range []struct{ operation, body, message string }{
		{"CreateTable", `{}`, "The parameter 'TableName' is required but was not present in the request"},
		{"CreateTable", `{"TableName":"a"}`, "TableName must be at least 3 characters long and at most 255 characters long"},
		{"CreateTable", `{"TableName":"abc;"}`, "3 validation errors detected: Value 'abc;' at 'tableName' failed to satisfy constraint: " +
			"Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value null at 'attributeDefinitions' failed to satisfy constraint: Member must not be null; " +
			"Value null at 'keySchema' failed to satisfy constraint: Member must not be null"},
		{"CreateTable", `{"TableName":"abc",` + id + `}`, wrongParam + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"},
		{"CreateTable", `{"TableName":"abc",` + id + `,"BillingMode":"PAY_PER_REQUEST",` + units + `}`,
			wrongParam + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"},
		{"CreateTable", `{"TableName":"abc",` + id + `,"ProvisionedThroughput":{"ReadCapacityUnits":0,"WriteCapacityUnits":1}}`,
			shape + "'0' at 'provisionedThroughput.readCapacityUnits' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"CreateTable", `{"TableName":"abc","AttributeDefinitions":[],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],` + units + `}`,
			"Invalid KeySchema: Some index key attribute have no definition"},
		{"CreateTable", `{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"x","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],` + units + `}`,
			wrongParam + "Some index key attributes are not defined in AttributeDefinitions. Keys: [id], AttributeDefinitions: [x]"},
		{"CreateTable", `{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"X"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],` + units + `}`,
			shape + "'X' at 'attributeDefinitions.1.member.attributeType' failed to satisfy constraint: Member must satisfy enum value set: [B, N, S]"},
		{"CreateTable", `{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"RANGE"}],` + units + `}`,
			"Invalid KeySchema: The first KeySchemaElement is not a HASH key type"},
		{"CreateTable", `{"TableName":"abc","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"x","AttributeType":"S"}],` +
			`"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],` + units + `}`,
			wrongParam + "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"LocalSecondaryIndexes":[]}`, wrongParam + "List of LocalSecondaryIndexes is empty"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"GlobalSecondaryIndexes":[]}`, wrongParam + "List of GlobalSecondaryIndexes is empty"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"LocalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`,
			wrongParam + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"},
		{"CreateTable", `{"TableName":"abc",` + two + `,` + units + `,"LocalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"b","KeyType":"HASH"},{"AttributeName":"a","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}]}`,
			wrongParam + "Index KeySchema does not have the same leading hash key as table KeySchema for index: abc. index hash key: b, table hash key: a"},
		{"CreateTable", `{"TableName":"abc",` + two + `,` + units + `,"LocalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}],"Projection":{}}]}`,
			wrongParam + "Unknown ProjectionType: null"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"GlobalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL","NonKeyAttributes":["a"]},` + units + `}]}`,
			wrongParam + "ProjectionType is ALL, but NonKeyAttributes is specified"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"GlobalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`,
			wrongParam + "ProvisionedThroughput is not specified for index: abc"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"StreamSpecification":{"StreamEnabled":true}}`,
			wrongParam + "Table is being created with a stream enabled, UpdateViewType is required"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"OnDemandThroughput":{"MaxReadRequestUnits":1}}`,
			wrongParam + "OnDemandThroughput is not supported by millrace's local stack"},
		{"CreateTable", `{"TableName":"abc",` + two + `,` + units + `,"GlobalSecondaryIndexes":[{"IndexName":"abc","KeySchema":[{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"},` + units + `}]}`,
			wrongParam + "A KeySchema with several HASH or RANGE attributes is not supported by millrace's local stack"},
		{"CreateTable", `{"TableName":"abc",` + two + `,` + units + `,"VectorIndexes":[]}`, wrongParam + "VectorIndexes is not supported by millrace's local stack"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"Tags":[{"Key":"aws:x","Value":""}]}`, "Tag Key cannot be prefixed with aws:, Key: aws:x"},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"TableClass":"X"}`,
			"Invalid table-class parameter provided. Please try again with a valid table-class value: [STANDARD, STANDARD_INFREQUENT_ACCESS]."},
		{"CreateTable", `{"TableName":"abc",` + id + `,` + units + `,"SSESpecification":{"SSEType":"KMS"}}`, wrongParam + "SSEType can not be specified if Enabled is false"},
		{"UpdateTable", `{"TableName":"there"}`, "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, SSESpecification, " +
			"ReplicaUpdates, MultiAccountReplicaReady, ReplicaTransitRoleArn, MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass is required"},
		{"UpdateTable", `{"TableName":"there","ProvisionedThroughput":{"ReadCapacityUnits":5,"WriteCapacityUnits":5}}`,
			"The provisioned throughput for the table will not change. The requested value equals the current value. " +
				"Current ReadCapacityUnits provisioned for the table: 5. Requested ReadCapacityUnits: 5. " +
				"Current WriteCapacityUnits provisioned for the table: 5. Requested WriteCapacityUnits: 5. " +
				"Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."},
		{"UpdateTable", `{"TableName":"there","StreamSpecification":{"StreamEnabled":false}}`, "Table has no stream to disable: TableName: there"},
		{"UpdateTable", `{"TableName":"there","StreamSpecification":{"StreamEnabled":true}}`, wrongParam + "If stream is being enabled then UpdateViewType is required"},
		{"UpdateTable", `{"TableName":"there","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"Fisk"}}`,
			shape + "'Fisk' at 'streamSpecification.streamViewType' failed to satisfy constraint: Member must satisfy enum value set: [NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES, KEYS_ONLY]"},
		{"UpdateTable", `{"TableName":"there","DeletionProtectionEnabled":true,"TableClass":"STANDARD"}`,
			wrongParam + "TableClass modification must be the only operation in the request"},
		{"UpdateTable", `{"TableName":"there","BillingMode":"PROVISIONED"}`, wrongParam + "ProvisionedThroughput must be specified when BillingMode is PROVISIONED"},
		{"UpdateTable", `{"TableName":"there","ReplicaUpdates":[{"Create":{"RegionName":"eu-west-1"}}]}`, wrongParam + "ReplicaUpdates is not supported by millrace's local stack"},
		{"UpdateTable", `{"TableName":"there","GlobalSecondaryIndexUpdates":[]}`, wrongParam + "List of GlobalSecondaryIndexUpdates is empty"},
		{"UpdateTable", `{"TableName":"there","GlobalSecondaryIndexUpdates":[{}]}`, wrongParam + "One of GlobalSecondaryIndexUpdate.Update, " +
			"GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete must not be null"},
		{"UpdateTimeToLive", `{"TableName":"there","TimeToLiveSpecification":{"AttributeName":"t","Enabled":false}}`, "TimeToLive is already disabled"},
		{"TagResource", `{"ResourceArn":"x"}`, wrongParam + "ARNs must start with 'arn:': x"},
		{"TagResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/there","Tags":[]}`, "Atleast one Tag needs to be provided as Input."},
		{"UntagResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/there","TagKeys":[]}`, "Atleast one Tag Key needs to be provided as Input."},
		{"ListTables", `{"Limit":101}`, shape + "'101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"},
	} {
		w.refuses(t, c.operation, c.body, validation, c.message)
	}
	w.refuses(t, "CreateTable", `{"TableName":"there",`+id+`,`+units+`}`, "ResourceInUseException", "Table already exists: there")
	for _, operation := range []string{"DescribeTable", "DeleteTable", "DescribeTimeToLive"} {
		w.refuses(t, operation, `{"TableName":"none"}`, "ResourceNotFoundException", "Requested resource not found: Table: none not found")
	}
	w.refuses(t, "UpdateTable", `{"TableName":"none","DeletionProtectionEnabled":true}`, "ResourceNotFoundException", "Requested resource not found: Table: none not found")
	w.refuses(t, "DescribeContinuousBackups", `{"TableName":"none"}`, "TableNotFoundException", "Table not found: none")
	w.refuses(t, "TagResource", `{"ResourceArn":"arn:aws:dynamodb:us-east-1:000000000000:table/none","Tags":[{"Key":"a","Value":"b"}]}`, "ResourceNotFoundException",
		"Requested resource not found: ResourcArn: arn:aws:dynamodb:us-east-1:000000000000:table/none not found")
	w.answers(t, "ListTables", `{}`, `{"TableNames":["there"]}`)
}
