package dynamodb

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/stack/dynamodb/attr"
	"github.com/millrace/millrace/stack/dynamodb/expr"
	"github.com/millrace/millrace/stack/wire"
)

// The parameters from before expressions
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LegacyConditionalParameters.html).

var operators = []string{"IN", "NULL", "BETWEEN", "LT", "NOT_CONTAINS", "EQ", "GT", "NOT_NULL", "NE", "LE", "BEGINS_WITH", "GE", "CONTAINS"}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func checkExpected(c *wire.Check, expected map[string]expectedValue) {
	for _, name := range sortedNames(expected) {
		checkEnum(c, "expected."+name+".member.comparisonOperator", expected[name].ComparisonOperator, operators)
	}
}

func checkConditions(c *wire.Check, member string, conditions map[string]condition) {
	for _, name := range sortedNames(conditions) {
		op := member + "." + name + ".member.comparisonOperator"
		c.Required(op, conditions[name].ComparisonOperator != "")
		checkEnum(c, op, conditions[name].ComparisonOperator, operators)
	}
}

// operandsError checks how many operands an operator has, and of which types.
func operandsError(op expr.Operator, values []attr.Value) error {
	for _, v := range values {
		if err := problem(v.Problem()); err != nil {
			return err
		}
	}
	low, high := 1, 1
	switch op {
	case expr.Null, expr.NotNull:
		low, high = 0, 0
	case expr.Between:
		low, high = 2, 2
	case expr.In:
		high = len(values)
	default:
	}
	if n := len(values); n < low || n > high {
		return invalid(parametersInvalid + "Invalid number of argument(s) for the " + string(op) + " ComparisonOperator")
	}
	for _, v := range values {
		if v.Type() != values[0].Type() {
			return invalid(parametersInvalid + "AttributeValues inside AttributeValueList must be of same type")
		}
		if !operandFits(op, v.Type()) {
			return invalidf(parametersInvalid+"ComparisonOperator %s is not valid for %s AttributeValue type", op, v.Type())
		}
	}
	if op == expr.Between {
		if order, _ := values[0].Compare(values[1]); order > 0 {
			return invalid("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
	}
	return nil
}

func operandFits(op expr.Operator, t attr.Type) bool {
	switch op {
	case expr.EQ, expr.NE:
		return true
	case expr.BeginsWith:
		return t == attr.S || t == attr.B
	default:
		return t == attr.S || t == attr.N || t == attr.B
	}
}

// comparisons turns KeyConditions, QueryFilter or ScanFilter into comparisons.
func comparisons(conditions map[string]condition) ([]expr.Comparison, error) {
	var list []expr.Comparison
	for _, name := range sortedNames(conditions) {
		c := conditions[name]
		op := expr.Operator(c.ComparisonOperator)
		if err := operandsError(op, c.AttributeValueList); err != nil {
			return nil, err
		}
		list = append(list, expr.Comparison{Attribute: name, Operator: op, Values: c.AttributeValueList})
	}
	return list, nil
}

func operatorAlone(operator string) error {
	if operator != "" {
		return invalid(parametersInvalid + "ConditionalOperator cannot be used without Filter or Expected")
	}
	return nil
}

// filterCondition is the condition that QueryFilter or ScanFilter states, nil if there is none.
func filterCondition(conditions map[string]condition, operator string) (*expr.Condition, error) {
	if len(conditions) == 0 {
		return nil, operatorAlone(operator)
	}
	list, err := comparisons(conditions)
	if err != nil {
		return nil, err
	}
	if len(list) == 1 && operator != "" {
		return nil, invalid(parametersInvalid + "ConditionalOperator can only be used when Filter or Expected has two or more elements")
	}
	return expr.NewCondition(list, operator == "OR"), nil
}

// expectedCondition is the condition that Expected states, nil if there is none.
func expectedCondition(expected map[string]expectedValue, operator string) (*expr.Condition, error) {
	if len(expected) == 0 {
		return nil, operatorAlone(operator)
	}
	var list []expr.Comparison
	for _, name := range sortedNames(expected) {
		c, err := expected[name].comparison(name)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	if len(list) == 1 && operator != "" {
		return nil, invalid(parametersInvalid + "ConditionalOperator can only be used when Filter or Expected has two or more elements")
	}
	return expr.NewCondition(list, operator == "OR"), nil
}

func (e expectedValue) comparison(name string) (expr.Comparison, error) {
	c := expr.Comparison{Attribute: name, Operator: expr.Operator(e.ComparisonOperator), Values: e.AttributeValueList}
	hasValue := !e.Value.IsZero()
	if hasValue && e.AttributeValueList != nil {
		return c, invalid(parametersInvalid + "Value and AttributeValueList cannot be used together for Attribute: " + name)
	}
	if hasValue {
		c.Values = []attr.Value{e.Value}
	}
	if e.ComparisonOperator != "" {
		switch {
		case e.Exists != nil:
			return c, invalid(parametersInvalid + "Exists and ComparisonOperator cannot be used together for Attribute: " + name)
		case c.Operator != expr.Null && c.Operator != expr.NotNull && c.Values == nil:
			return c, invalidf(parametersInvalid+"Value or AttributeValueList must be used with ComparisonOperator: %s for Attribute: %s", c.Operator, name)
		}
		return c, operandsError(c.Operator, c.Values)
	}
	exists := "null"
	if e.Exists != nil {
		exists = fmt.Sprint(*e.Exists)
	}
	switch {
	case e.AttributeValueList != nil:
		return c, invalid(parametersInvalid + "AttributeValueList can only be used with a ComparisonOperator for Attribute: " + name)
	case exists != "false" && !hasValue:
		return c, invalidf(parametersInvalid+"Value must be provided when Exists is %s for Attribute: %s", exists, name)
	case exists == "false" && hasValue:
		return c, invalid(parametersInvalid + "Value cannot be used when Exists is false for Attribute: " + name)
	case exists == "false":
		c.Operator = expr.Null
		return c, nil
	}
	c.Operator = expr.EQ
	return c, problem(e.Value.Problem())
}

// attributeUpdates is the update that AttributeUpdates describes, nil if there is none.
func attributeUpdates(updates map[string]attributeUpdate) (*expr.Update, error) {
	if len(updates) == 0 {
		return nil, nil
	}
	var list []expr.AttributeUpdate
	for _, name := range sortedNames(updates) {
		u := updates[name]
		if !u.Value.IsZero() {
			if err := problem(u.Value.Problem()); err != nil {
				return nil, err
			}
		}
		t := u.Value.Type()
		switch {
		case u.Value.IsZero() && u.Action != "DELETE":
			return nil, invalid(parametersInvalid + "Only DELETE action is allowed when no attribute value is specified")
		case !u.Value.IsZero() && u.Action == "DELETE" && !t.IsSet():
			return nil, invalid(parametersInvalid + "DELETE action with value is not supported for the type " + t.String())
		case u.Action == "ADD" && t != attr.N && t != attr.L && !t.IsSet():
			return nil, invalid(parametersInvalid + "ADD action is not supported for the type " + t.String())
		}
		list = append(list, expr.AttributeUpdate{Attribute: name, Action: u.Action, Value: u.Value})
	}
	return expr.NewUpdate(list), nil
}
