package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/millrace/millrace/router"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/wire"
)

// input is what a target receives instead of the event: one of three.
type input struct {
	constant    string
	path        *router.Path
	transformer *router.Transformer
}

// compileTransformer compiles a target's InputTransformer.
func compileTransformer(target string, in *InputTransformer) (*input, error) {
	for name := range in.InputPathsMap {
		if strings.HasPrefix(name, "aws.events.") {
			return nil, wire.Errorf("ValidationException", "InputPathsMap of target %s has the reserved name %s.", target, name)
		}
	}
	t, err := router.NewTransformer(in.InputPathsMap, in.InputTemplate)
	if err != nil {
		return nil, badInput(target, err)
	}
	return &input{transformer: t}, nil
}

// badInput words the refusal of a path or a template.
func badInput(target string, err error) error {
	var refused *router.InputError
	if errors.As(err, &refused) {
		return wire.Errorf("ValidationException", "%s", refused.For(target))
	}
	return err
}

// apply makes the input of an event. A path that leads nowhere gives null.
func (in *input) apply(e *inflight, v *view) (string, error) {
	switch {
	case in.transformer != nil:
		text, err := in.transformer.Append(nil, router.Source{Event: e.doc, RuleARN: v.arn, RuleName: v.name, Ingestion: e.ingested})
		if err != nil {
			return "", fmt.Errorf("making the target's input: %w", err)
		}
		return string(text), nil
	case in.path != nil:
		value, found, err := in.path.Append(nil, e.doc)
		if err != nil {
			return "", fmt.Errorf("making the target's input: %w", err)
		}
		if !found {
			return "null", nil
		}
		return string(value), nil
	}
	return in.constant, nil
}

// textAt returns the text that a path leads to, "" if it leads nowhere. What is no string it returns as JSON.
func textAt(p *router.Path, doc []byte) string {
	value, found, err := p.Append(nil, doc)
	if err != nil || !found {
		return ""
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// logLine reads the input of a log group, which is {"timestamp": …, "message": …}
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-targets.html). The time is milliseconds or ISO 8601.
func logLine(m *env.Message) error {
	var line struct {
		Timestamp any    `json:"timestamp"`
		Message   string `json:"message"`
	}
	if err := json.Unmarshal([]byte(m.Body), &line); err != nil || line.Message == "" {
		return errors.New(`the input of a log group must be {"timestamp": …, "message": "…"}`)
	}
	var ms string
	switch t := line.Timestamp.(type) {
	case float64:
		ms = strconv.FormatInt(int64(t), 10)
	case string:
		at, err := time.Parse(time.RFC3339, t)
		if err != nil {
			return fmt.Errorf("the timestamp of a log group's input is %q, which is no time", t)
		}
		ms = strconv.FormatInt(at.UnixMilli(), 10)
	default:
		return errors.New("the input of a log group has no timestamp")
	}
	m.Body = line.Message
	m.Attributes = map[string]env.Attribute{"timestamp": {DataType: "Number", String: ms}}
	return nil
}
