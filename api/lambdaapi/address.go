package lambdaapi

import (
	"net/url"
	"strings"
)

// Limits and patterns of the API model (botocore lambda/2015-03-31, shapes NamespacedFunctionName and
// NumericLatestPublishedOrAliasQualifier).
const (
	maxAddress   = 256
	maxQualifier = 128

	latest = "$LATEST"

	addressPattern   = `(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?`
	qualifierPattern = `\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+`
)

// address is what a caller wrote to name a function.
type address struct {
	region    string // "" if not given
	account   string // "" if not given
	name      string
	qualifier string // "" if not given
}

// parseAddress reads a name, a partial ARN or a full ARN, each with or without a qualifier.
func parseAddress(s string) (a address, ok bool) {
	rest := s
	if after, found := strings.CutPrefix(rest, "arn:"); found {
		partition, tail, _ := strings.Cut(after, ":")
		if rest, found = strings.CutPrefix(tail, "lambda:"); !found || partition != "" && !strings.HasPrefix(partition, "aws") {
			return a, false
		}
	}
	if head, tail, found := strings.Cut(rest, ":"); found && isRegion(head) {
		a.region, rest = head, tail
	}
	if head, tail, found := strings.Cut(rest, ":"); found && len(head) == 12 && all(head, digit) {
		a.account, rest = head, tail
	}
	rest = strings.TrimPrefix(rest, "function:")
	name, qualifier, found := strings.Cut(rest, ":")
	a.name, a.qualifier = name, qualifier
	return a, name != "" && all(name, nameByte) && (!found || validQualifier(qualifier))
}

func validQualifier(q string) bool {
	return q == latest || q == latest+".PUBLISHED" || q != "" && all(q, func(c byte) bool { return c != '.' && nameByte(c) })
}

func isRegion(s string) bool {
	n := len(s)
	return n >= 6 && s[2] == '-' && s[n-2] == '-' && digit(s[n-1]) && all(s[:2], letter) &&
		all(s[3:n-2], func(c byte) bool { return c == '-' || letter(c) })
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' }
func digit(c byte) bool  { return '0' <= c && c <= '9' }

func nameByte(c byte) bool {
	return letter(c) || digit(c) || 'A' <= c && c <= 'Z' || c == '-' || c == '_' || c == '.'
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// queryValue is the first value of a parameter in a raw query.
func queryValue(raw, name string) (string, error) {
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if k, v, _ := strings.Cut(part, "="); k == name {
			return url.QueryUnescape(v)
		}
	}
	return "", nil
}

// resolve finds out which function a request means. qualifier is the one that the caller gave, or "".
func (s *server) resolve(addressText, queryQualifier string) (name, qualifier string, err *apiError) {
	a, ok := parseAddress(addressText)
	var constraints []string
	if addressText == "" {
		constraints = append(constraints, constraint(addressText, "functionName", "have length greater than or equal to 1"))
	} else if !ok {
		constraints = append(constraints, constraint(addressText, "functionName", "satisfy regular expression pattern: "+addressPattern))
	}
	if len(addressText) > maxAddress {
		constraints = append(constraints, constraint(addressText, "functionName", "have length less than or equal to 256"))
	}
	if len(queryQualifier) > maxQualifier {
		constraints = append(constraints, constraint(queryQualifier, "qualifier", "have length less than or equal to 128"))
	} else if queryQualifier != "" && !validQualifier(queryQualifier) {
		constraints = append(constraints, constraint(queryQualifier, "qualifier", "satisfy regular expression pattern: "+qualifierPattern))
	}
	if constraints != nil {
		return "", "", validation(constraints)
	}
	qualifier = a.qualifier
	switch {
	case qualifier == "":
		qualifier = queryQualifier
	case queryQualifier != "" && queryQualifier != qualifier:
		return "", "", invalidParameter("The derived qualifier from the function name does not match the specified qualifier.")
	}
	if a.region != "" && a.region != s.region {
		return "", "", &apiError{code: "ResourceNotFoundException", status: 404, fault: "User", upper: true,
			message: "Functions from '" + a.region + "' are not reachable in this region ('" + s.region + "')"}
	}
	if a.account != "" && a.account != s.account {
		return "", "", notFound(functionARN(s.region, a.account, a.name), qualifier)
	}
	return a.name, qualifier, nil
}

func functionARN(region, account, name string) string {
	return "arn:aws:lambda:" + region + ":" + account + ":function:" + name
}
