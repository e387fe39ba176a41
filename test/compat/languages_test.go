package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/stack"
	"github.com/millrace/millrace/test/emulators"
	"github.com/millrace/millrace/test/services"
)

// Clients of other languages walk through all services with nothing but the stack's URL and some keys.
func TestOtherLanguages(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]func(t *testing.T) []string{
		"boto3": func(t *testing.T) []string {
			return []string{services.NeedPython(t, "boto3"), "python/scenario.py"}
		},
		"aws, version 1": func(t *testing.T) []string {
			return []string{"cli/scenario.sh", services.NeedPython(t, "awscli"), "-m", "awscli"}
		},
		"aws, version 2 of Debian": func(t *testing.T) []string {
			const aws = "/usr/bin/aws"
			if _, err := os.Stat(aws); err != nil {
				services.Missing(t, aws+" is not installed: run `make services`")
			}
			return []string{"cli/scenario.sh", aws}
		},
		"@aws-sdk": func(t *testing.T) []string {
			modules, err := filepath.Abs(emulators.Modules("../..", ""))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(modules, "@aws-sdk")); err != nil {
				services.Missing(t, "@aws-sdk is not installed: run `make services`")
			}
			return []string{services.Need(t, "node"), "js/scenario.mjs", modules}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := command(t)
			s, err := stack.Start(stack.Options{Keys: map[string]string{"AKIDEXAMPLE": "secretsecret"}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.WaitDelay = time.Second // for what it has started
			cmd.Env = append(withoutAWS(os.Environ()), "AWS_ENDPOINT_URL="+s.URL(), "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secretsecret",
				"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "NODE_NO_WARNINGS=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// withoutAWS leaves the AWS settings of the machine out.
func withoutAWS(environment []string) (rest []string) {
	for _, e := range environment {
		if !strings.HasPrefix(e, "AWS_") {
			rest = append(rest, e)
		}
	}
	return rest
}
