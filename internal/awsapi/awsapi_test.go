package awsapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/awsapi"
)

// alone hides the AWS settings of this machine.
func alone(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	return dir
}

func TestFixedKeysAndEndpoint(t *testing.T) {
	alone(t)
	c := awsapi.Config{Endpoint: "http://localhost:4566", AccessKeyID: "AKID", SecretAccessKey: "hush", SessionToken: "tok"}
	cfg, err := c.Load(t.Context(), "eu-west-3")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Region != "eu-west-3" || cfg.BaseEndpoint == nil || *cfg.BaseEndpoint != c.Endpoint {
		t.Errorf("region %s, endpoint %v", cfg.Region, cfg.BaseEndpoint)
	}
	cred, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil || cred.AccessKeyID != "AKID" || cred.SecretAccessKey != "hush" || cred.SessionToken != "tok" {
		t.Errorf("credentials %+v, %v", cred.AccessKeyID, err)
	}
	if n := cfg.Retryer().MaxAttempts(); n != 1 {
		t.Errorf("a call is tried %d times", n)
	}
}

func TestProfile(t *testing.T) {
	dir := alone(t)
	const text = "[profile work]\nregion = ap-south-1\naws_access_key_id = FROMFILE\naws_secret_access_key = x\n"
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := (&awsapi.Config{Profile: "work"}).Load(t.Context(), "eu-west-3")
	if err != nil {
		t.Fatal(err)
	}
	cred, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil || cred.AccessKeyID != "FROMFILE" || cfg.Region != "ap-south-1" {
		t.Errorf("%s in %s, %v", cred.AccessKeyID, cfg.Region, err)
	}
	if cfg, err = (&awsapi.Config{Profile: "work", Region: "us-west-2"}).Load(t.Context(), ""); err != nil || cfg.Region != "us-west-2" {
		t.Errorf("the file's region is kept over the setting's: %s, %v", cfg.Region, err)
	}
	if _, err := (&awsapi.Config{Profile: "none"}).Load(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a missing profile: %v", err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]awsapi.Config{
		"": {Endpoint: "https://lambda.internal", AccessKeyID: "a", SecretAccessKey: "b"},
		"aws.accessKeyId: goes together with secretAccessKey": {AccessKeyID: "a"},
		"aws.sessionToken: belongs to an access key":          {SessionToken: "a"},
		"aws.profile: and accessKeyId name two sources":       {Profile: "p", AccessKeyID: "a", SecretAccessKey: "b"},
		`aws.endpoint: "localhost:4566" is not an address`:    {Endpoint: "localhost:4566"},
	} {
		err := c.Validate("aws")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := (&awsapi.Config{AccessKeyID: "a"}).Validate(""); err == nil || !strings.HasPrefix(err.Error(), "accessKeyId: ") {
		t.Errorf("%v", err)
	}
}
