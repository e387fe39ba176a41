package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/test/services"
)

// Each file of configs passes the check with what it names: handlers, modules, interpreters and certificates.
func TestEveryExampleOpens(t *testing.T) {
	t.Parallel()
	services.Need(t, "python3")
	services.Need(t, "node")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "configs"))); err != nil {
		t.Fatal(err)
	}
	// What the example's first lines tell its reader to build.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "functions/wordcount/wordcount.wasm"), "../../configs/functions/wordcount")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=") // -race, if the tests have it, is not for wasm
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	selfSigned(t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	env := append(os.Environ(), "WEBHOOK_SECRET=a-secret-of-sixteen-bytes-or-more", "MILLRACE_KEY=secret", "MILLRACE_TOKEN=token", "MILLRACE_TLS="+dir)

	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		cmd := exec.CommandContext(t.Context(), binary, "check", file)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("millrace check %s: %v\n%s", filepath.Base(file), err, out)
		}
	}
}

func selfSigned(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: cert}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
