package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// verifySignature checks a notification of signature version 2 with the certificate that it names, and says what
// does not hold. It follows the developer guide's "Verifying the signatures of Amazon SNS messages".
func verifySignature(ctx context.Context, d map[string]any) (problem string) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	url, _ := d["SigningCertURL"].(string)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "SigningCertURL is no URL"
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return "the certificate cannot be fetched"
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	block, _ := pem.Decode(data)
	if err != nil || block == nil {
		return "SigningCertURL gives no certificate"
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "SigningCertURL gives no certificate that can be read"
	}
	key, isRSA := cert.PublicKey.(*rsa.PublicKey)
	if !isRSA {
		return "the certificate has no RSA key"
	}
	var signed strings.Builder
	for _, name := range []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"} {
		if v, ok := d[name].(string); ok {
			fmt.Fprintf(&signed, "%s\n%s\n", name, v)
		}
	}
	signature, err := base64.StdEncoding.DecodeString(fmt.Sprint(d["Signature"]))
	if err != nil {
		return "Signature is not base64"
	}
	sum := sha256.Sum256([]byte(signed.String()))
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return "it does not fit the message"
	}
	return ""
}
