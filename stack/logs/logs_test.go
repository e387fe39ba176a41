package logs_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/logs"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const groupARN = "arn:aws:logs:us-east-1:000000000000:log-group:/g"

type world struct {
	*stacktest.Kit
	t       *testing.T
	service *logs.Service
	client  *api.Client
	now     int64 // milliseconds, at the start
}

func newWorld(t *testing.T) *world { return worldOn(t, stacktest.New(t)) }

func worldOn(t *testing.T, k *stacktest.Kit) *world {
	t.Helper()
	s, err := logs.New(k.Env)
	if err != nil {
		t.Fatal(err)
	}
	return &world{Kit: k, t: t, service: s, client: api.NewFromConfig(stacktest.Config(k.Serve(s.API()...))), now: k.Clock.Now().UnixMilli()}
}

func must[T any](t *testing.T) func(out T, err error) T {
	return func(out T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || e.ErrorMessage() != message {
		t.Errorf("error %v, want %s: %s", err, code, message)
	}
}

// group makes the group /g with streams.
func (w *world) group(streams ...string) {
	w.t.Helper()
	must[*api.CreateLogGroupOutput](w.t)(w.client.CreateLogGroup(w.t.Context(), &api.CreateLogGroupInput{LogGroupName: aws.String("/g")}))
	for _, s := range streams {
		must[*api.CreateLogStreamOutput](w.t)(w.client.CreateLogStream(w.t.Context(), &api.CreateLogStreamInput{LogGroupName: aws.String("/g"), LogStreamName: &s}))
	}
}

// put writes messages at times relative to the start, in milliseconds.
func (w *world) put(stream string, at ...int64) (*api.PutLogEventsOutput, error) {
	in := &api.PutLogEventsInput{LogGroupName: aws.String("/g"), LogStreamName: &stream}
	for _, a := range at {
		in.LogEvents = append(in.LogEvents, types.InputLogEvent{Timestamp: aws.Int64(w.now + a), Message: aws.String(fmt.Sprintf("%s%d", stream, a))})
	}
	return w.client.PutLogEvents(w.t.Context(), in)
}

func (w *world) get(change func(in *api.GetLogEventsInput)) ([]string, *api.GetLogEventsOutput) {
	w.t.Helper()
	in := &api.GetLogEventsInput{LogGroupName: aws.String("/g"), LogStreamName: aws.String("s")}
	change(in)
	out := must[*api.GetLogEventsOutput](w.t)(w.client.GetLogEvents(w.t.Context(), in))
	var list []string
	for _, e := range out.Events {
		list = append(list, *e.Message)
	}
	return list, out
}

// What a bus delivers can be read back.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	message := env.Message{From: "arn:aws:events:us-east-1:000000000000:rule/r", Body: `{"id":"1"}`}
	err := w.service.Deliver(t.Context(), groupARN, message)
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != "ResourceNotFoundException" {
		t.Fatalf("without the group: %v", err)
	}
	w.group()
	if err := w.service.Deliver(t.Context(), groupARN+":*", message); err != nil {
		t.Fatal(err)
	}
	message.Attributes = map[string]env.Attribute{"timestamp": {DataType: "Number", String: fmt.Sprint(w.now - 5)}}
	if err := w.service.Deliver(t.Context(), groupARN, message); err != nil {
		t.Fatal(err)
	}
	out := must[*api.FilterLogEventsOutput](t)(w.client.FilterLogEvents(t.Context(), &api.FilterLogEventsInput{LogGroupName: aws.String("/g")}))
	if len(out.Events) != 2 || *out.Events[0].Timestamp != w.now-5 || *out.Events[1].Timestamp != w.now || *out.Events[1].Message != message.Body ||
		*out.Events[0].LogStreamName != *out.Events[1].LogStreamName || *out.Events[0].IngestionTime != w.now {
		t.Errorf("events %+v", out.Events)
	}
}

func TestGetLogEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("s")
	must[*api.PutLogEventsOutput](t)(w.put("s", 1, 2, 2, 4))
	must[*api.PutLogEventsOutput](t)(w.put("s", 0, 3)) // between those that are there
	check := func(got []string, want string) {
		t.Helper()
		if fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	all, end := w.get(func(*api.GetLogEventsInput) {})
	check(all, "[s0 s1 s2 s2 s3 s4]")
	none, again := w.get(func(in *api.GetLogEventsInput) { in.NextToken = end.NextForwardToken })
	check(none, "[]")
	if *again.NextForwardToken != *end.NextForwardToken { // that tells a reader that it is at the end
		t.Errorf("token %s, then %s", *end.NextForwardToken, *again.NextForwardToken)
	}
	got, page := w.get(func(in *api.GetLogEventsInput) { in.Limit, in.StartFromHead = aws.Int32(3), aws.Bool(true) })
	check(got, "[s0 s1 s2]")
	got, page = w.get(func(in *api.GetLogEventsInput) { in.Limit, in.NextToken = aws.Int32(2), page.NextForwardToken })
	check(got, "[s2 s3]")
	got, _ = w.get(func(in *api.GetLogEventsInput) { in.Limit, in.NextToken = aws.Int32(2), page.NextBackwardToken })
	check(got, "[s1 s2]")
	got, _ = w.get(func(in *api.GetLogEventsInput) { in.Limit = aws.Int32(2) })
	check(got, "[s3 s4]")
	got, _ = w.get(func(in *api.GetLogEventsInput) { in.StartTime, in.EndTime = aws.Int64(w.now+1), aws.Int64(w.now+3) })
	check(got, "[s1 s2 s2]")
	must[*api.PutLogEventsOutput](t)(w.put("s", 9))
	got, _ = w.get(func(in *api.GetLogEventsInput) { in.NextToken = end.NextForwardToken })
	check(got, "[s9]")
	for _, token := range []string{"x", "f/1", "f/" + strings.Repeat("x", 56), "b/-" + strings.Repeat("0", 55)} {
		_, err := w.client.GetLogEvents(t.Context(), &api.GetLogEventsInput{LogGroupName: aws.String("/g"), LogStreamName: aws.String("s"), NextToken: &token})
		refused(t, err, "InvalidParameterException", "The specified nextToken is invalid.")
	}
}

func TestFilterLogEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("a1", "a2", "b")
	for s, at := range map[string][]int64{"a1": {1, 3}, "a2": {2, 3}, "b": {0}} {
		must[*api.PutLogEventsOutput](t)(w.put(s, at...))
	}
	filter := func(change func(in *api.FilterLogEventsInput)) string {
		t.Helper()
		in := &api.FilterLogEventsInput{LogGroupIdentifier: aws.String(groupARN)}
		change(in)
		var got []string
		for {
			out := must[*api.FilterLogEventsOutput](t)(w.client.FilterLogEvents(t.Context(), in))
			for _, e := range out.Events {
				got = append(got, *e.Message)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return fmt.Sprint(got)
			}
		}
	}
	for want, change := range map[string]func(in *api.FilterLogEventsInput){
		"[b0 a11 a22 a13 a23]": func(in *api.FilterLogEventsInput) { in.Limit = aws.Int32(2) },
		"[a11 a22 a13 a23]":    func(in *api.FilterLogEventsInput) { in.LogStreamNamePrefix = aws.String("a") },
		"[b0 a22 a23]":         func(in *api.FilterLogEventsInput) { in.LogStreamNames = []string{"b", "a2"} },
		"[a22]": func(in *api.FilterLogEventsInput) {
			in.StartTime, in.EndTime = aws.Int64(w.now+2), aws.Int64(w.now+3)
		},
	} {
		if got := filter(change); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	_, err := w.client.FilterLogEvents(t.Context(), &api.FilterLogEventsInput{LogGroupName: aws.String("/g"), FilterPattern: aws.String("ERROR")})
	refused(t, err, "InvalidParameterException", "filterPattern is not supported by millrace's local stack; leave it out to get all events.")
	_, err = w.client.FilterLogEvents(t.Context(), &api.FilterLogEventsInput{LogGroupName: aws.String("/g"), LogStreamNames: []string{"c"}})
	refused(t, err, "ResourceNotFoundException", "The specified log stream does not exist.")
}

func TestPutLogEventsIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("s")
	_, err := w.put("s", 2, 1)
	refused(t, err, "InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order.")
	_, err = w.put("s", -86_400_001, 0)
	refused(t, err, "InvalidParameterException", "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	_, err = w.put("nope", 1)
	refused(t, err, "ResourceNotFoundException", "The specified log stream does not exist.")
	_, err = w.client.PutLogEvents(t.Context(), &api.PutLogEventsInput{LogGroupName: aws.String("/g"), LogStreamName: aws.String("s"),
		LogEvents: []types.InputLogEvent{{Timestamp: &w.now, Message: aws.String(strings.Repeat("x", 1<<20-25))}}})
	refused(t, err, "InvalidParameterException", "Upload too large: 1048577 bytes exceeds limit of 1048576")

	const hour, day = int64(time.Hour / time.Millisecond), 24 * int64(time.Hour/time.Millisecond)
	out := must[*api.PutLogEventsOutput](t)(w.put("s", -14*day-1, -14*day))
	if i := out.RejectedLogEventsInfo; i == nil || *i.TooOldLogEventEndIndex != 1 || i.TooNewLogEventStartIndex != nil {
		t.Errorf("rejected %+v", i)
	}
	out = must[*api.PutLogEventsOutput](t)(w.put("s", 2*hour, 2*hour+1))
	if i := out.RejectedLogEventsInfo; i == nil || *i.TooNewLogEventStartIndex != 1 || i.TooOldLogEventEndIndex != nil {
		t.Errorf("rejected %+v", i)
	}
	if got, _ := w.get(func(*api.GetLogEventsInput) {}); len(got) != 2 {
		t.Errorf("events %v", got)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("s")
	ctx := t.Context()
	must[*api.PutLogEventsOutput](t)(w.put("s", 0))
	w.Clock.Advance(23 * time.Hour)
	must[*api.PutLogEventsOutput](t)(w.put("s", int64(23*time.Hour/time.Millisecond)))
	must[*api.PutRetentionPolicyOutput](t)(w.client.PutRetentionPolicy(ctx, &api.PutRetentionPolicyInput{LogGroupName: aws.String("/g"), RetentionInDays: aws.Int32(1)}))
	if got, _ := w.get(func(*api.GetLogEventsInput) {}); len(got) != 2 {
		t.Errorf("after 23 hours there is %v", got)
	}
	w.Clock.Advance(time.Hour + time.Millisecond)
	if got, _ := w.get(func(*api.GetLogEventsInput) {}); len(got) != 1 {
		t.Errorf("after 24 hours there is %v", got)
	}
	out := must[*api.PutLogEventsOutput](t)(w.put("s", 0))
	if i := out.RejectedLogEventsInfo; i == nil || *i.ExpiredLogEventEndIndex != 1 {
		t.Errorf("rejected %+v", i)
	}
	_, err := w.client.PutRetentionPolicy(ctx, &api.PutRetentionPolicyInput{LogGroupName: aws.String("/g"), RetentionInDays: aws.Int32(2)})
	refused(t, err, "InvalidParameterException", "1 validation error detected: Value '2' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: "+
		"[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]")
	must[*api.DeleteRetentionPolicyOutput](t)(w.client.DeleteRetentionPolicy(ctx, &api.DeleteRetentionPolicyInput{LogGroupName: aws.String("/g")}))
	w.Clock.Advance(90 * 24 * time.Hour)
	if got, _ := w.get(func(*api.GetLogEventsInput) {}); len(got) != 1 {
		t.Errorf("without retention there is %v", got)
	}
}

func TestGroupsAndStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group("a", "b", "c")
	ctx := t.Context()
	_, err := w.client.CreateLogGroup(ctx, &api.CreateLogGroupInput{LogGroupName: aws.String("/g")})
	refused(t, err, "ResourceAlreadyExistsException", "The specified log group already exists")
	_, err = w.client.CreateLogGroup(ctx, &api.CreateLogGroupInput{LogGroupName: aws.String("a b")})
	refused(t, err, "InvalidParameterException", `1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`)
	_, err = w.client.CreateLogGroup(ctx, &api.CreateLogGroupInput{LogGroupName: aws.String("x"), LogGroupClass: types.LogGroupClassInfrequentAccess})
	refused(t, err, "InvalidParameterException", "logGroupClass INFREQUENT_ACCESS is not supported by millrace's local stack; STANDARD is.")
	_, err = w.client.CreateLogStream(ctx, &api.CreateLogStreamInput{LogGroupName: aws.String("/g"), LogStreamName: aws.String("a")})
	refused(t, err, "ResourceAlreadyExistsException", "The specified log stream already exists")
	_, err = w.client.CreateLogStream(ctx, &api.CreateLogStreamInput{LogGroupName: aws.String("nope"), LogStreamName: aws.String("a")})
	refused(t, err, "ResourceNotFoundException", "The specified log group does not exist.")

	must[*api.CreateLogGroupOutput](t)(w.client.CreateLogGroup(ctx, &api.CreateLogGroupInput{LogGroupName: aws.String("/h"), Tags: map[string]string{"k": "v"}}))
	arn := "arn:aws:logs:us-east-1:000000000000:log-group:/h"
	must[*api.TagResourceOutput](t)(w.client.TagResource(ctx, &api.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"l": "w"}}))
	must[*api.UntagResourceOutput](t)(w.client.UntagResource(ctx, &api.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"k"}}))
	if tags := must[*api.ListTagsForResourceOutput](t)(w.client.ListTagsForResource(ctx, &api.ListTagsForResourceInput{ResourceArn: &arn})).Tags; fmt.Sprint(tags) != "map[l:w]" {
		t.Errorf("tags %v", tags)
	}
	first := must[*api.DescribeLogGroupsOutput](t)(w.client.DescribeLogGroups(ctx, &api.DescribeLogGroupsInput{Limit: aws.Int32(1)}))
	second := must[*api.DescribeLogGroupsOutput](t)(w.client.DescribeLogGroups(ctx, &api.DescribeLogGroupsInput{NextToken: first.NextToken}))
	if *first.LogGroups[0].Arn != groupARN+":*" || len(second.LogGroups) != 1 || *second.LogGroups[0].LogGroupArn != arn || second.NextToken != nil {
		t.Errorf("groups %+v, %+v", first.LogGroups, second.LogGroups)
	}

	must[*api.PutLogEventsOutput](t)(w.put("b", 1, 7))
	must[*api.PutLogEventsOutput](t)(w.put("a", 5))
	streams := func(in *api.DescribeLogStreamsInput) string {
		t.Helper()
		in.LogGroupName = aws.String("/g")
		var names []string
		for {
			out := must[*api.DescribeLogStreamsOutput](t)(w.client.DescribeLogStreams(ctx, in))
			for _, s := range out.LogStreams {
				names = append(names, *s.LogStreamName)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return fmt.Sprint(names)
			}
		}
	}
	if got := streams(&api.DescribeLogStreamsInput{Limit: aws.Int32(2)}); got != "[a b c]" {
		t.Errorf("by name %s", got)
	}
	if got := streams(&api.DescribeLogStreamsInput{Limit: aws.Int32(2), OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)}); got != "[b a c]" {
		t.Errorf("by time %s", got)
	}
	must[*api.DeleteLogStreamOutput](t)(w.client.DeleteLogStream(ctx, &api.DeleteLogStreamInput{LogGroupName: aws.String("/g"), LogStreamName: aws.String("a")}))
	must[*api.DeleteLogGroupOutput](t)(w.client.DeleteLogGroup(ctx, &api.DeleteLogGroupInput{LogGroupName: aws.String("/g")}))
	_, err = w.client.DescribeLogStreams(ctx, &api.DescribeLogStreamsInput{LogGroupName: aws.String("/g")})
	refused(t, err, "ResourceNotFoundException", "The specified log group does not exist.")
}

func TestACrashLosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "stack")
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := stacktest.On(t, s)
	w := worldOn(t, k)
	w.group("s")
	must[*api.PutRetentionPolicyOutput](t)(w.client.PutRetentionPolicy(t.Context(), &api.PutRetentionPolicyInput{LogGroupName: aws.String("/g"), RetentionInDays: aws.Int32(3)}))
	must[*api.PutLogEventsOutput](t)(w.put("s", 2))
	must[*api.PutLogEventsOutput](t)(w.put("s", 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w = worldOn(t, stacktest.On(t, s))
	must[*api.PutLogEventsOutput](t)(w.put("s", 3))
	if got, _ := w.get(func(*api.GetLogEventsInput) {}); fmt.Sprint(got) != "[s1 s2 s3]" {
		t.Errorf("events %v", got)
	}
	if g := must[*api.DescribeLogGroupsOutput](t)(w.client.DescribeLogGroups(t.Context(), &api.DescribeLogGroupsInput{})).LogGroups; *g[0].RetentionInDays != 3 {
		t.Errorf("group %+v", g[0])
	}
	w.service.Reset()
	if g := must[*api.DescribeLogGroupsOutput](t)(w.client.DescribeLogGroups(t.Context(), &api.DescribeLogGroupsInput{})).LogGroups; len(g) != 0 {
		t.Errorf("after the reset there is %+v", g)
	}
}

func FuzzToken(f *testing.F) {
	k := stacktest.New(f)
	s, err := logs.New(k.Env)
	if err != nil {
		f.Fatal(err)
	}
	client := api.NewFromConfig(stacktest.Config(k.Serve(s.API()...)))
	group, stream := aws.String("g"), aws.String("s")
	if _, err := client.CreateLogGroup(f.Context(), &api.CreateLogGroupInput{LogGroupName: group}); err != nil {
		f.Fatal(err)
	}
	if _, err := client.CreateLogStream(f.Context(), &api.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}); err != nil {
		f.Fatal(err)
	}
	for _, token := range []string{"f/" + strings.Repeat("0", 56), "b/" + strings.Repeat("9", 56), "f/-" + strings.Repeat("1", 55), "x", ""} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		out, err := client.GetLogEvents(t.Context(), &api.GetLogEventsInput{LogGroupName: group, LogStreamName: stream, NextToken: &token})
		var e smithy.APIError
		switch {
		case err == nil && len(out.Events) != 0:
			t.Errorf("events %+v", out.Events)
		case err != nil && (!errors.As(err, &e) || e.ErrorFault() == smithy.FaultServer):
			t.Errorf("%q: %v", token, err)
		}
	})
}
