package plugin

import (
	"net/url"

	"golang.org/x/net/http/httpguts"
)

// CheckEndpoint reports what keeps the settings url and tls of a component from meaning an HTTP endpoint.
// missing says what to write where there is no url.
func CheckEndpoint(address string, tls TLS, missing string) []error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, Invalid(path, format, args...)) }
	u, err := url.Parse(address)
	switch {
	case address == "":
		bad("url", "is missing; %s", missing)
	case err != nil:
		bad("url", "is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		bad("url", "must begin with http:// or https://")
	case u.Host == "":
		bad("url", "has no host")
	case u.User != nil:
		bad("url", "must not hold a user name or password; set headers: {Authorization: ...}")
	case u.Fragment != "":
		bad("url", "must not have a fragment (#%s)", u.Fragment)
	}
	if err == nil && u.Scheme == "http" && tls != (TLS{}) {
		bad("tls", "has no effect on an http:// url; write https:// or remove it")
	}
	if err := tls.Validate("tls"); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// CheckHeaders reports headers, of the setting headers, that can not be sent. own tells whether the hub sets a
// header itself.
func CheckHeaders(headers map[string]Secret, own func(name string) bool) []error {
	var errs []error
	for name, value := range headers {
		path := "headers." + name
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			errs = append(errs, Invalid(path, "is not a header name"))
		case !httpguts.ValidHeaderFieldValue(string(value)):
			errs = append(errs, Invalid(path, "has a value with a line break or another control character"))
		case own(name):
			errs = append(errs, Invalid(path, "is set by the hub; remove it"))
		}
	}
	return errs
}
