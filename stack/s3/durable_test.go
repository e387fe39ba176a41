package s3_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/stack/env"
	"github.com/millrace/millrace/stack/s3"
	"github.com/millrace/millrace/stack/stacktest"
	"github.com/millrace/millrace/stack/store"
	"github.com/millrace/millrace/stack/wire"
)

// durable is a world on a directory. Close it to open another.
func durable(t testing.TB, dir string) (w *world, closeIt func()) {
	t.Helper()
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := stacktest.On(t, st)
	closed := false
	closeIt = func() {
		if !closed {
			closed = true
			k.Stop()
			if err := st.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(closeIt)
	return on(t, k), closeIt
}

// content is a body that its seed and size tell.
func content(seed string, size int) []byte {
	var key [32]byte
	copy(key[:], seed)
	b := make([]byte, size)
	rand.NewChaCha8(key).Read(b)
	return b
}

// files lists the objects that have files of their own.
func files(t testing.TB, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "objects", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAllIsThereAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, closeIt := durable(t, dir)
	b := w.bucket("bucket")
	w.versioning(b, types.BucketVersioningStatusEnabled)
	w.toAnyQueue(b)
	sizes := []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 300_000, 3 << 20}
	var ids []string
	for i, size := range sizes {
		out, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("k\x00/ü"), Body: bytes.NewReader(content(fmt.Sprint(i), size)),
			ContentType: aws.String("text/plain"), Metadata: map[string]string{"i": fmt.Sprint(i)}, Tagging: aws.String("t=" + fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.VersionId)
	}
	marker := w.remove(b, "k\x00/ü", "")
	large := content("large", mebi5)
	u := w.begin(b, "upload", func(in *awss3.CreateMultipartUploadInput) { in.Metadata = map[string]string{"m": "1"} })
	u.part(1, large)
	done := w.begin(b, "done")
	done.part(1, large)
	done.part(2, []byte("end"))
	if _, failed := done.complete(); failed != "" {
		t.Fatal(failed)
	}
	for _, key := range []string{"done", "k2"} { // copies live on by themselves
		if key == "k2" {
			w.put(b, "small", "small")
		}
		source := map[string]string{"done": "bucket/done", "k2": "bucket/small"}[key]
		if _, err := w.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: b, Key: aws.String(key + "-copy"), CopySource: &source}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: b, EncodingType: types.EncodingTypeUrl})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list.Versions {
		if *v.Key == "done" || *v.Key == "small" {
			w.remove(b, *v.Key, *v.VersionId)
		}
	}
	closeIt()

	// What a crash may leave.
	if err := os.WriteFile(filepath.Join(dir, "objects", "00000000000fffff"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, _ = durable(t, dir)
	for i, size := range sizes {
		if got := w.body(b, "k\x00/ü", ids[i]); got != string(content(fmt.Sprint(i), size)) {
			t.Errorf("the version of %d bytes came back with %d", size, len(got))
		}
		head, err := w.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: b, Key: aws.String("k\x00/ü"), VersionId: &ids[i]})
		if err != nil || head.Metadata["i"] != fmt.Sprint(i) || *head.ContentType != "text/plain" || *head.TagCount != 1 {
			t.Errorf("%+v %v", head, err)
		}
	}
	after, err := w.ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: b, Prefix: aws.String("k\x00"), EncodingType: types.EncodingTypeUrl})
	if err != nil || len(after.Versions) != len(sizes) || len(after.DeleteMarkers) != 1 || !*after.DeleteMarkers[0].IsLatest || *after.DeleteMarkers[0].VersionId != *marker.VersionId {
		t.Fatalf("%+v %v", after, err)
	}
	for i := range ids {
		if *after.Versions[len(ids)-1-i].VersionId != ids[i] {
			t.Error("the versions have another order")
		}
	}
	if got := w.body(b, "done"); got != "NoSuchKey" {
		t.Errorf("a removed version is back: %.20q", got)
	}
	if got := w.body(b, "done-copy"); got != string(large)+"end" {
		t.Errorf("the copy has %d bytes", len(got))
	}
	if got := w.body(b, "k2-copy"); got != "small" {
		t.Errorf("the copy is %q", got)
	}
	if c := w.config(b); len(c.QueueConfigurations) != 1 {
		t.Errorf("%+v", c)
	}
	u.world = w
	u.part(2, []byte("end"))
	if out, failed := u.complete(); failed != "" || out.VersionId == nil || w.body(b, "upload") != string(large)+"end" {
		t.Errorf("%q", failed)
	}
	w.put(b, "k\x00/ü", "newest") // newer than all before the restart
	if got := w.body(b, "k\x00/ü"); got != "newest" {
		t.Errorf("%.20q", got)
	}
	if n := len(files(t, dir)); n != 5 { // three versions, the copy, the upload
		t.Errorf("%d files", n)
	}
	w.service.Reset()
	if n := len(files(t, dir)); n != 0 {
		t.Errorf("%d files after a reset", n)
	}
}

func TestNotificationsSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, closeIt := durable(t, dir)
	b := w.bucket("bucket")
	w.toAnyQueue(b)
	w.put(b, "arrived", "data")
	w.Refuse(func(string, env.Message) error { return errors.New("broken") })
	w.put(b, "k", "one")
	w.put(b, "k", "two")
	closeIt()
	w, _ = durable(t, dir)
	w.awaitTimer()
	w.Clock.Advance(time.Second)
	w.Await(2)
	w.put(b, "k", "three")
	got := w.sequence()
	if len(got) != 1 || len(got["k"]) != 3 || got["k"][0] >= got["k"][1] || got["k"][1] >= got["k"][2] {
		t.Errorf("%v", got)
	}
}

// TestReadersKeepWhatTheyRead replaces an object that is being sent.
func TestReadersKeepWhatTheyRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, _ := durable(t, dir)
	b := w.bucket("bucket")
	size := 8 << 20
	put := func(seed string) {
		if _, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: aws.String("k"), Body: bytes.NewReader(content(seed, size))}); err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	got, err := w.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: b, Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	begin := make([]byte, 1000)
	if _, err := io.ReadFull(got.Body, begin); err != nil {
		t.Fatal(err)
	}
	put("two")
	rest, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(append(begin, rest...), content("one", size)) {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	if got := w.body(b, "k"); got != string(content("two", size)) {
		t.Error("the new object differs")
	}
}

// TestFailedUploadLeavesNothing cuts one off, and sends another that is not what it says.
func TestFailedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, _ := durable(t, dir)
	b := w.bucket("bucket")
	body := string(content("x", 1<<20))
	if resp, text := w.raw("PUT", "/bucket/k", body, "Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA=="); resp.StatusCode != 400 {
		t.Error(text)
	}
	broken, err := http.NewRequestWithContext(t.Context(), "PUT", w.endpoint+"/bucket/k", io.MultiReader(strings.NewReader(body), iotestErr{}))
	if err != nil {
		t.Fatal(err)
	}
	broken.ContentLength = 2 << 20
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if resp, err := transport.RoundTrip(broken); err == nil {
		resp.Body.Close()
	}
	if got := w.body(b, "k"); got != "NoSuchKey" {
		t.Errorf("%.20q", got)
	}
	// The server may still be at work on the second.
	for len(files(t, dir)) > 0 {
		if t.Context().Err() != nil {
			t.Fatalf("left: %q", files(t, dir))
		}
	}
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("cut off") }

// TestNothingAcknowledgedIsLostByKill has another process be killed while it serves.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestServeToBeKilled$", "-test.v") //nolint:gosec // this very program
		cmd.Env = append(os.Environ(), "MILLRACE_TEST_DIR="+dir, "MILLRACE_TEST_SEED="+fmt.Sprint(round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l := &ledger{done: map[string]string{}, begun: map[string]string{}, told: map[string]bool{}}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if l.add(lines.Text()) {
				n++
			}
			if n == 60 { // what it has written until it is gone is read too
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
		if len(l.done) < 20 {
			t.Fatalf("only %d writes", len(l.done))
		}
		l.check(t, dir)
	}
}

// ledger is what a process has told that was killed.
type ledger struct {
	begun map[string]string // key -> what it will have, "" if it is removed
	done  map[string]string // the same, acknowledged
	puts  []string          // acknowledged, as key and ETag
	told  map[string]bool   // notifications that were delivered, the same
}

// add reads a line, and reports whether it tells of an acknowledgement.
func (l *ledger) add(line string) bool {
	kind, rest, _ := strings.Cut(line, " ")
	key, what, _ := strings.Cut(rest, " ")
	switch kind {
	case "begun":
		l.begun[key] = what
	case "told":
		l.told[rest] = true
	case "put":
		l.puts = append(l.puts, rest)
	case "done":
		l.done[key] = what
		return true
	}
	return false
}

// check compares what is in a directory with what was acknowledged, and the notifications.
func (l *ledger) check(t *testing.T, dir string) {
	t.Helper()
	w, closeIt := durable(t, dir)
	defer closeIt()
	b := aws.String("bucket")
	want := func(what string) string {
		if what == "" {
			return "NoSuchKey"
		}
		var seed string
		var size int
		if _, err := fmt.Sscanf(what, "%s %d", &seed, &size); err != nil {
			t.Fatal(err)
		}
		return string(content(seed, size))
	}
	for key, what := range l.done {
		got := w.body(b, key)
		if got != want(what) && got != want(l.begun[key]) { // the last write may have been done without having been acknowledged
			t.Errorf("%s has %d bytes, neither %q nor %q", key, len(got), what, l.begun[key])
		}
	}
	// No file is left that no object has.
	list, err := w.ListObjects(t.Context(), &awss3.ListObjectsInput{Bucket: b})
	if err != nil {
		t.Fatal(err)
	}
	have := 0
	for _, o := range list.Contents {
		if *o.Size > 64<<10 {
			have++
		}
	}
	if n := len(files(t, dir)); n != have || have == 0 {
		t.Errorf("%d files of %d large objects", n, have)
	}
	for _, put := range l.puts {
		for !l.told[put] { // then it is told now
			w.Clock.Advance(time.Second)
			w.Await(len(w.Delivered()) + 1)
			for _, d := range w.Delivered() {
				l.told[recordOf(d.Message.Body)] = true
			}
		}
	}
}

// recordOf shows a notification as key and ETag.
func recordOf(body string) string {
	var doc struct {
		Records []struct {
			S3 struct{ Object struct{ Key, ETag string } }
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Records) != 1 {
		return ""
	}
	o := doc.Records[0].S3.Object
	return o.Key + " " + o.ETag
}

// TestServeToBeKilled is no test, but what TestNothingAcknowledgedIsLostByKill runs: it puts, replaces and removes
// objects until it is killed, and tells of each once it is acknowledged.
func TestServeToBeKilled(t *testing.T) {
	dir := os.Getenv("MILLRACE_TEST_DIR")
	if dir == "" {
		t.Skip("it is to be killed by another test")
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e := env.Env{
		Clock: clock.System{}, Store: st, Log: slog.New(slog.DiscardHandler),
		Deliver: func(_ context.Context, _ string, m env.Message) error {
			if told := recordOf(m.Body); told != "" {
				fmt.Println("told", told)
			}
			return nil
		},
		Go: func(f func(context.Context)) { go f(context.Background()) },
	}
	service, err := s3.New(e)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(wire.NewDispatcher(wire.Config{Services: service.API(), Region: stacktest.Region, Account: stacktest.Account, Log: e.Log}))
	w := &world{service: service, endpoint: server.URL, t: t}
	w.Client = w.client(stacktest.Region)
	b := w.bucket("bucket")
	w.toAnyQueue(b)
	const writers = 4
	for i := range writers {
		go func() {
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(os.Getenv("MILLRACE_TEST_SEED"))))) //nolint:gosec // a test's numbers
			for n := 0; ; n++ {
				key := fmt.Sprintf("k-%d-%d", i, random.IntN(12))
				what := ""
				if random.IntN(5) == 0 {
					fmt.Println("begun", key)
					w.remove(b, key, "")
				} else {
					size := []int{10, 10_000, 70_000, 400_000}[random.IntN(4)]
					seed := fmt.Sprintf("%d-%d", i, n)
					what = fmt.Sprintf("%s %d", seed, size)
					fmt.Println("begun", key, what)
					out, err := w.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: b, Key: &key, Body: bytes.NewReader(content(seed, size))})
					if err != nil {
						panic(err)
					}
					fmt.Println("put", key, strings.Trim(*out.ETag, `"`))
				}
				fmt.Println("done", key, what)
			}
		}()
	}
	select {}
}
