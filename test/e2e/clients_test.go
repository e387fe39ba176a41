package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/millrace/millrace/test/hub"
	"github.com/millrace/millrace/test/services"
)

// handlers is a hub with an unmodified handler of each language.
func handlers(t *testing.T) *hub.Hub {
	t.Helper()
	services.Need(t, "python3")
	services.Need(t, "node")
	return start(t, fmt.Sprintf(`
functions:
  go: {runtime: provided, code: %q, timeout: 20s}
  python: {runtime: python3, code: %q, handler: app.handler, timeout: 20s}
  node: {runtime: nodejs, code: %q, handler: app.handler, timeout: 20s}
triggers:
  go-url: {kind: function-url, with: {path: /go}, function: go}
  python-url: {kind: function-url, with: {path: /python}, function: python}
  node-url: {kind: function-url, with: {path: /node}, function: node}
security: {keys: {AKIDEXAMPLE: secretsecretsecret}}
`, goHandler(t), handler(t, "python"), handler(t, "node")))
}

var languages = []string{"go", "python", "node"}

type answer struct {
	From, ID, ARN string
	Event         json.RawMessage
}

func TestAnUnmodifiedHandlerAnswersAnHTTPRequest(t *testing.T) {
	t.Parallel()
	h := handlers(t)
	for _, lang := range languages {
		status, _, body := send(t, http.MethodPost, h.Gateway+"/"+lang+"/a%20path?x=1&x=2", "hello")
		var a answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || status != http.StatusOK || a.From != lang {
			t.Fatalf("%s: %d %s %v", lang, status, body, err)
		}
		var doc struct {
			RawPath, RawQueryString, Body string
		}
		if err := json.Unmarshal(a.Event, &doc); err != nil || doc.Body != "hello" || doc.RawQueryString != "x=1&x=2" {
			t.Errorf("%s: document %s", lang, a.Event)
		}
	}
}

func TestGoSDKInvokesEachLanguage(t *testing.T) {
	t.Parallel()
	h := handlers(t)
	c := lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(h.AWS),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secretsecretsecret", ""),
	})
	for _, lang := range languages {
		out, err := c.Invoke(t.Context(), &lambda.InvokeInput{
			FunctionName: aws.String(lang), Payload: []byte(`{"x":"é"}`), LogType: types.LogTypeTail,
		})
		if err != nil {
			t.Fatalf("%s: %v", lang, err)
		}
		var a answer
		if err := json.Unmarshal(out.Payload, &a); err != nil || a.From != lang || a.ARN != "arn:aws:lambda:us-east-1:000000000000:function:"+lang {
			t.Errorf("%s: %s", lang, out.Payload)
		}
		if compact(t, string(a.Event)) != `{"x":"é"}` {
			t.Errorf("%s got %s", lang, a.Event)
		}
		if *out.ExecutedVersion != "$LATEST" || out.LogResult == nil {
			t.Errorf("%s: version %v, log %v", lang, out.ExecutedVersion, out.LogResult)
		}
		out, err = c.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String(lang), Payload: []byte(`{"do":"fail"}`)})
		if err != nil || out.FunctionError == nil || *out.FunctionError != "Unhandled" || !bytes.Contains(out.Payload, []byte("asked to fail")) {
			t.Errorf("%s failing: %v %s", lang, err, out.Payload)
		}
	}
	bad := lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(h.AWS),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "wrong", ""),
	})
	if _, err := bad.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("go")}); err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") {
		t.Errorf("a bad signature got %v", err)
	}
}

func awsEnv(h *hub.Hub) []string {
	return append(os.Environ(), "AWS_ENDPOINT_URL="+h.AWS, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secretsecretsecret",
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=")
}

func TestAWSCLIInvokesEachLanguage(t *testing.T) {
	t.Parallel()
	cli := services.Need(t, "aws")
	h := handlers(t)
	for _, lang := range languages {
		file := filepath.Join(t.TempDir(), "out.json")
		args := []string{"lambda", "invoke", "--function-name", lang, "--payload", `{"x":1}`, "--log-type", "Tail", "--output", "json", file}
		if v, err := exec.Command(cli, "--version").CombinedOutput(); err == nil && strings.HasPrefix(string(v), "aws-cli/2") {
			args = append(args, "--cli-binary-format", "raw-in-base64-out")
		}
		cmd := exec.CommandContext(t.Context(), cli, args...)
		cmd.Env = awsEnv(h)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		var meta struct {
			StatusCode                 int
			ExecutedVersion, LogResult string
		}
		got, _ := os.ReadFile(file)
		var a answer
		if err := json.Unmarshal(out, &meta); err != nil || meta.StatusCode != 200 || meta.ExecutedVersion != "$LATEST" || meta.LogResult == "" {
			t.Errorf("%s: %s", lang, out)
		}
		if err := json.Unmarshal(got, &a); err != nil || a.From != lang {
			t.Errorf("%s: %s", lang, got)
		}
	}
}

const boto = `
import boto3, json, sys
c = boto3.client("lambda")
for lang in ["go", "python", "node"]:
    r = c.invoke(FunctionName=lang, Payload=json.dumps({"x": 1}))
    a = json.loads(r["Payload"].read())
    assert a["from"] == lang and a["event"] == {"x": 1} and r["StatusCode"] == 200, (r, a)
    assert a["id"] == r["ResponseMetadata"]["RequestId"], (r, a)
    r = c.invoke(FunctionName=lang, Payload=json.dumps({"do": "fail"}))
    assert r["FunctionError"] == "Unhandled" and "asked to fail" in json.loads(r["Payload"].read())["errorMessage"], r
    r = c.invoke(FunctionName=lang, InvocationType="Event", Payload=b"{}")
    assert r["StatusCode"] == 202 and r["Payload"].read() == b"", r
    r = c.invoke(FunctionName=lang, InvocationType="DryRun")
    assert r["StatusCode"] == 204, r
for bad, error in [({"FunctionName": "none"}, "ResourceNotFoundException"), ({"FunctionName": "go", "Payload": b"{"}, "InvalidRequestContentException"),
                   ({"FunctionName": "go", "Qualifier": "7"}, "ResourceNotFoundException"),
                   ({"FunctionName": "go", "Payload": b'"' + b"x" * (6 << 20) + b'"'}, "RequestTooLargeException")]:
    try:
        c.invoke(**bad)
        sys.exit("no error for %r" % list(bad))
    except c.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == error, e
print("good")
`

func TestBoto3InvokesEachLanguage(t *testing.T) {
	t.Parallel()
	python := services.NeedPython(t, "boto3")
	h := handlers(t)
	cmd := exec.CommandContext(t.Context(), python, "-c", boto)
	cmd.Env = awsEnv(h)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "good" {
		t.Fatalf("%v\n%s", err, out)
	}
}
