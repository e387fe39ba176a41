package dynamodb

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/millrace/millrace/stack/wire"
)

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

const patternShown = "[a-zA-Z0-9_.-]+"

// tableNameError checks the name of a table as operations on tables do.
func tableNameError(c *wire.Check, name string) error {
	if name == "" {
		return invalid("The parameter 'TableName' is required but was not present in the request")
	}
	if strings.HasPrefix(name, "arn:") {
		return nil
	}
	if len(name) < 3 || len(name) > 255 {
		return invalid("TableName must be at least 3 characters long and at most 255 characters long")
	}
	c.Pattern("tableName", name, namePattern, patternShown)
	return nil
}

func checkUnits(c *wire.Check, name string, t *throughput) {
	if t == nil {
		return
	}
	for _, u := range []struct {
		name  string
		value *int64
	}{{"writeCapacityUnits", t.WriteCapacityUnits}, {"readCapacityUnits", t.ReadCapacityUnits}} {
		c.Required(name+"."+u.name, u.value != nil)
		if u.value != nil && *u.value < 1 {
			c.Range(name+"."+u.name, *u.value, 1, maxUnits)
		}
	}
}

func checkDefinitions(c *wire.Check, list []attributeDefinition) {
	for i, a := range list {
		name := fmt.Sprintf("attributeDefinitions.%d.member.", i+1)
		c.Length(name+"attributeName", a.AttributeName, 1, 255)
		c.Enum(name+"attributeType", a.AttributeType, "B", "N", "S")
	}
}

func checkKeySchema(c *wire.Check, name string, keys []keyElement, most int) {
	c.Required(name, keys != nil)
	if keys != nil && (len(keys) == 0 || len(keys) > most) {
		c.Count(name, shown(len(keys)), len(keys), 1, most)
	}
	for i, k := range keys {
		name := fmt.Sprintf("%s.%d.member.", name, i+1)
		c.Length(name+"attributeName", k.AttributeName, 1, 255)
		c.Enum(name+"keyType", k.KeyType, "HASH", "RANGE")
	}
}

// checkIndex checks an index whose key has at most so many attributes.
func checkIndex(c *wire.Check, name string, x globalIndexInput, most int) {
	c.Required(name+"indexName", x.IndexName != "")
	if x.IndexName != "" {
		c.Pattern(name+"indexName", x.IndexName, namePattern, patternShown)
		c.Length(name+"indexName", x.IndexName, 3, 255)
	}
	checkKeySchema(c, name+"keySchema", x.KeySchema, most)
	c.Required(name+"projection", x.Projection != nil)
	if p := x.Projection; p != nil {
		if p.ProjectionType != "" {
			c.Enum(name+"projection.projectionType", p.ProjectionType, "ALL", "INCLUDE", "KEYS_ONLY")
		}
		if p.NonKeyAttributes != nil && (len(p.NonKeyAttributes) == 0 || len(p.NonKeyAttributes) > 20) {
			c.Count(name+"projection.nonKeyAttributes", shown(len(p.NonKeyAttributes)), len(p.NonKeyAttributes), 1, 20)
		}
	}
	checkUnits(c, name+"provisionedThroughput", x.ProvisionedThroughput)
}

func (in *createTableInput) check() error {
	var c wire.Check
	if err := tableNameError(&c, in.TableName); err != nil {
		return err
	}
	c.Required("attributeDefinitions", in.AttributeDefinitions != nil)
	checkDefinitions(&c, in.AttributeDefinitions)
	checkKeySchema(&c, "keySchema", in.KeySchema, 2)
	if in.BillingMode != "" {
		c.Enum("billingMode", in.BillingMode, "PROVISIONED", "PAY_PER_REQUEST")
	}
	checkUnits(&c, "provisionedThroughput", in.ProvisionedThroughput)
	for i, x := range in.LocalSecondaryIndexes {
		checkIndex(&c, fmt.Sprintf("localSecondaryIndexes.%d.member.", i+1),
			globalIndexInput{IndexName: x.IndexName, KeySchema: x.KeySchema, Projection: x.Projection}, 2)
	}
	for i, x := range in.GlobalSecondaryIndexes {
		checkIndex(&c, fmt.Sprintf("globalSecondaryIndexes.%d.member.", i+1), x, maxGlobalKey)
	}
	checkStream(&c, in.StreamSpecification)
	checkSSE(&c, in.SSESpecification)
	if err := c.Err(); err != nil {
		return err
	}
	return in.unsupported()
}

func checkStream(c *wire.Check, s *streamSpecification) {
	if s == nil {
		return
	}
	c.Required("streamSpecification.streamEnabled", s.StreamEnabled != nil)
	if s.StreamViewType != "" {
		c.Enum("streamSpecification.streamViewType", s.StreamViewType, strings.Split(allViewTypes, ", ")...)
	}
}

func checkSSE(c *wire.Check, s *sseSpecification) {
	if s != nil && s.SSEType != "" {
		c.Enum("sSESpecification.sSEType", s.SSEType, "AES256", "KMS")
	}
}

// notHere refuses a parameter that means something on AWS that the stack does not have.
func notHere(parameter string) error {
	return invalid(parametersInvalid + parameter + " is not supported by millrace's local stack")
}

func (in *createTableInput) unsupported() error {
	switch {
	case strings.HasPrefix(in.TableName, "arn:"):
		return invalid("TableName must be at least 3 characters long and at most 255 characters long")
	case in.OnDemandThroughput != nil:
		return notHere("OnDemandThroughput")
	case in.ResourcePolicy != "":
		return notHere("ResourcePolicy")
	case in.GlobalTableSourceArn != "":
		return notHere("GlobalTableSourceArn")
	case in.GlobalTableSettingsReplicationMode != "":
		return notHere("GlobalTableSettingsReplicationMode")
	case in.VectorIndexes != nil:
		return notHere("VectorIndexes")
	}
	for _, x := range in.GlobalSecondaryIndexes {
		if x.OnDemandThroughput != nil {
			return notHere("OnDemandThroughput")
		}
	}
	return nil
}
