package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the second version of signatures
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

type formKey struct{}

// FormCheck returns the check of a form's signature that VerifyS3Form has left to be done, nil if there is none: the
// signature is in the body, which VerifyS3Form does not read. The names of the fields are in small letters.
func FormCheck(ctx context.Context) func(fields map[string]string) error {
	check, _ := ctx.Value(formKey{}).(func(map[string]string) error)
	return check
}

// checkForm checks the signature of a form's policy
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html).
func (v *Verifier) checkForm(fields map[string]string) error {
	policy := fields["policy"]
	if key := fields["awsaccesskeyid"]; key != "" {
		secret, ok := v.Keys[key]
		if !ok {
			return unknownKey(key)
		}
		return compareOld(secret, key, policy, fields["signature"])
	}
	scope := strings.Split(fields["x-amz-credential"], "/")
	if len(scope) < 5 {
		return &Error{Code: "InvalidArgument", Status: http.StatusBadRequest,
			Message: "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
			Members: map[string]any{"ArgumentName": "X-Amz-Credential", "ArgumentValue": clip(fields["x-amz-credential"])}}
	}
	n := len(scope)
	s := signature{accessKey: strings.Join(scope[:n-4], "/"), day: scope[n-4], region: scope[n-3], service: scope[n-2]}
	if a := fields["x-amz-algorithm"]; a != algorithm {
		return &Error{Code: "InvalidRequest", Status: http.StatusBadRequest, Message: "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""}
	}
	date, err := time.Parse(basicTime, fields["x-amz-date"])
	if err != nil || date.Format("20060102") != s.day {
		return &Error{Code: "AccessDenied", Status: http.StatusForbidden, Message: "Invalid X-Amz-Date"}
	}
	secret, ok := v.Keys[s.accessKey]
	if !ok {
		return unknownKey(s.accessKey)
	}
	want := hex.EncodeToString(mac(signingKey(secret, s), policy))
	if !hmac.Equal([]byte(want), []byte(fields["x-amz-signature"])) {
		return mismatch(s.accessKey, policy, fields["x-amz-signature"])
	}
	return nil
}

func unknownKey(key string) error {
	return &Error{Code: "InvalidAccessKeyId", Status: http.StatusForbidden,
		Message: "The AWS Access Key Id you provided does not exist in our records.", Members: map[string]any{"AWSAccessKeyId": clip(key)}}
}

func mismatch(key, toSign, given string) *Error {
	return &Error{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden, Message: doesNotMatch, Members: map[string]any{
		"AWSAccessKeyId": clip(key), "StringToSign": toSign, "StringToSignBytes": spaced(toSign), "SignatureProvided": clip(given),
	}}
}

// compareOld checks a signature of the second version.
func compareOld(secret, key, toSign, given string) error {
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(toSign))
	if want := base64.StdEncoding.EncodeToString(h.Sum(nil)); !hmac.Equal([]byte(want), []byte(given)) {
		return mismatch(key, toSign, given)
	}
	return nil
}
