package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/millrace/millrace/test/services"
)

const objects = `
import boto3, sys
s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="key", aws_secret_access_key="secretsecret", region_name="us-east-1")
s3.create_bucket(Bucket="photos")
s3.put_object(Bucket="photos", Key="in/a b+c@ü.jpg", Body=b"12345")
s3.copy_object(Bucket="photos", Key="in/copy.jpg", CopySource={"Bucket": "photos", "Key": "in/a b+c@ü.jpg"})
m = s3.create_multipart_upload(Bucket="photos", Key="in/big.jpg")["UploadId"]
e = s3.upload_part(Bucket="photos", Key="in/big.jpg", UploadId=m, PartNumber=1, Body=b"x" * (5 << 20))["ETag"]
s3.complete_multipart_upload(Bucket="photos", Key="in/big.jpg", UploadId=m, MultipartUpload={"Parts": [{"ETag": e, "PartNumber": 1}]})
s3.delete_object(Bucket="photos", Key="in/copy.jpg")
s3.put_object(Bucket="photos", Key="elsewhere/ignored.jpg", Body=b"")
`

// A real object store posts its notifications; the function gets AWS's documents.
func TestVersitygwNotificationsBecomeAWSDocuments(t *testing.T) {
	t.Parallel()
	gw := services.Need(t, "versitygw")
	python := services.NeedPython(t, "boto3")
	s := newSink(t)
	h := start(t, fmt.Sprintf(`
functions:
  sink: {runtime: http, url: %s}
triggers:
  photos: {kind: s3, with: {listen: /notify, prefix: in/}, function: sink}
`, s.URL))

	port := freePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	cmd := exec.Command(gw, "--port", address, "--event-webhook-url", h.Gateway+"/notify", "posix", t.TempDir())
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=key", "ROOT_SECRET_KEY=secretsecret")
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	eventually(t, "versitygw to listen", func() string {
		var d net.Dialer
		c, err := d.DialContext(context.Background(), "tcp", address)
		if err != nil {
			return err.Error()
		}
		c.Close()
		return ""
	})
	if out, err := exec.Command(python, "-c", objects, "http://"+address).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	want := map[string]string{ // event and key as AWS writes them
		"ObjectCreated:Put in/a+b%2Bc%40%C3%BC.jpg":        "",
		"ObjectCreated:Copy in/copy.jpg":                   "",
		"ObjectCreated:CompleteMultipartUpload in/big.jpg": "",
		"ObjectRemoved:Delete in/copy.jpg":                 "",
	}
	eventually(t, "the notifications", func() string {
		got := map[string]bool{}
		for _, c := range s.all() {
			records, _ := c.document["Records"].([]any)
			for _, r := range records {
				rec := r.(map[string]any)
				s3 := rec["s3"].(map[string]any)
				bucket := s3["bucket"].(map[string]any)
				if bucket["name"] != "photos" || bucket["arn"] != "arn:aws:s3:::photos" || rec["eventSource"] != "aws:s3" {
					t.Fatalf("record %v", rec)
				}
				got[fmt.Sprint(rec["eventName"], " ", s3["object"].(map[string]any)["key"])] = true
			}
		}
		for w := range want {
			if !got[w] {
				return fmt.Sprintf("no %s among %v", w, got)
			}
		}
		for g := range got {
			if _, ok := want[g]; !ok {
				t.Fatalf("unexpected %s", g)
			}
		}
		return ""
	})
}
