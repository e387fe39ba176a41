package event

import "time"

// Field is one named value of a request or an answer: a header line, a query parameter, a path parameter.
type Field struct{ Name, Value string }

// HTTPRequest is a request as an HTTP front door has taken it apart. In Headers and Query fields of one name
// stand together, in the order of arrival; header names are compared as they are spelled, so a door brings
// them into one spelling first. Nothing is kept after an Append function returns.
type HTTPRequest struct {
	Method      string
	Path        string // rawPath of payload 2.0, path of the others
	ContextPath string // requestContext.path of payload 1.0
	RawQuery    string // as sent, without "?"
	Protocol    string // "HTTP/1.1"
	SourceIP    string
	UserAgent   string // "" if the client sent none
	Headers     []Field
	Query       []Field // decoded, except for ALB, which passes them as sent
	Body        []byte
	Base64      bool // write Body as base64

	AccountID    string
	APIID        string
	DomainName   string
	DomainPrefix string
	RequestID    string
	Stage        string
	RouteKey     string // "GET /orders/{id}", "$default"
	Resource     string // "/orders/{id}"
	ResourceID   string
	DeploymentID string
	Time         time.Time

	PathParameters []Field
	StageVariables []Field
	Authorizer     []byte // JSON of requestContext.authorizer; nil leaves it out

	TargetGroupARN string // of an ALB
}

// AppendFunctionURL appends the document of a Lambda function URL: payload 2.0, in which the Cookie header
// stays beside cookies
// (https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads).
func AppendFunctionURL(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `{"version":"2.0","routeKey":`...)
	return appendV2(dst, r, true)
}

// AppendHTTPAPI appends the document of an HTTP API with payload format 2.0: what is empty is left out
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html).
func AppendHTTPAPI(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `{"version":"2.0","routeKey":`...)
	return appendV2(dst, r, false)
}

func appendV2(dst []byte, r *HTTPRequest, keepCookie bool) []byte {
	dst = appendV2Head(dst, r, keepCookie)
	if len(r.Body) > 0 {
		dst = append(dst, `,"body":`...)
		dst = appendBody(dst, r)
	}
	dst = appendV2Tail(dst, r)
	dst = append(dst, `,"isBase64Encoded":`...)
	dst = AppendBool(dst, r.Base64 && len(r.Body) > 0)
	return append(dst, '}')
}

// appendV2Head appends from the value of routeKey to the request context.
func appendV2Head(dst []byte, r *HTTPRequest, keepCookie bool) []byte {
	dst = AppendString(dst, r.RouteKey)
	dst = append(dst, `,"rawPath":`...)
	dst = AppendString(dst, r.Path)
	dst = append(dst, `,"rawQueryString":`...)
	dst = AppendString(dst, r.RawQuery)
	dst = appendCookies(dst, r.Headers)
	dst = append(dst, `,"headers":`...)
	skip := "Cookie"
	if keepCookie {
		skip = ""
	}
	dst = appendJoined(dst, r.Headers, true, skip)
	if len(r.Query) > 0 {
		dst = append(dst, `,"queryStringParameters":`...)
		dst = appendJoined(dst, r.Query, false, "")
	}

	dst = append(dst, `,"requestContext":{"accountId":`...)
	dst = AppendString(dst, r.AccountID)
	dst = append(dst, `,"apiId":`...)
	dst = AppendString(dst, r.APIID)
	if r.Authorizer != nil {
		dst = append(dst, `,"authorizer":`...)
		dst = append(dst, r.Authorizer...)
	}
	dst = append(dst, `,"domainName":`...)
	dst = AppendString(dst, r.DomainName)
	dst = append(dst, `,"domainPrefix":`...)
	dst = AppendString(dst, r.DomainPrefix)
	dst = append(dst, `,"http":{"method":`...)
	dst = AppendString(dst, r.Method)
	dst = append(dst, `,"path":`...)
	dst = AppendString(dst, r.Path)
	dst = append(dst, `,"protocol":`...)
	dst = AppendString(dst, r.Protocol)
	dst = append(dst, `,"sourceIp":`...)
	dst = AppendString(dst, r.SourceIP)
	dst = append(dst, `,"userAgent":`...)
	dst = AppendString(dst, r.UserAgent)
	dst = append(dst, `},"requestId":`...)
	dst = AppendString(dst, r.RequestID)
	dst = append(dst, `,"routeKey":`...)
	dst = AppendString(dst, r.RouteKey)
	dst = append(dst, `,"stage":`...)
	dst = AppendString(dst, r.Stage)
	dst = append(dst, `,"time":`...)
	dst = appendLogTime(dst, r.Time)
	dst = append(dst, `,"timeEpoch":`...)
	dst = AppendInt(dst, r.Time.UnixMilli())
	return append(dst, '}')
}

func appendV2Tail(dst []byte, r *HTTPRequest) []byte {
	if len(r.PathParameters) > 0 {
		dst = append(dst, `,"pathParameters":`...)
		dst = appendLast(dst, r.PathParameters, false)
	}
	if len(r.StageVariables) > 0 {
		dst = append(dst, `,"stageVariables":`...)
		dst = appendLast(dst, r.StageVariables, false)
	}
	return dst
}

func appendBody(dst []byte, r *HTTPRequest) []byte {
	if r.Base64 {
		return AppendBase64(dst, r.Body)
	}
	return AppendBytes(dst, r.Body)
}

// appendCookies appends the list of all pairs of all Cookie headers, if there are any.
func appendCookies(dst []byte, headers []Field) []byte {
	begun := false
	for _, h := range headers {
		if h.Name != "Cookie" {
			continue
		}
		for rest := h.Value; rest != ""; {
			end := 0
			for end < len(rest) && rest[end] != ';' {
				end++
			}
			pair := rest[:end]
			rest = rest[min(end+1, len(rest)):]
			for pair != "" && (pair[0] == ' ' || pair[0] == '\t') {
				pair = pair[1:]
			}
			if pair == "" {
				continue
			}
			if begun {
				dst = append(dst, ',')
			} else {
				dst = append(dst, `,"cookies":[`...)
				begun = true
			}
			dst = AppendString(dst, pair)
		}
	}
	if begun {
		dst = append(dst, ']')
	}
	return dst
}

// appendJoined appends an object in which the values of one name are joined by commas. Fields called skip are
// left out.
func appendJoined(dst []byte, fs []Field, lower bool, skip string) []byte {
	dst = append(dst, '{')
	first := true
	for i := 0; i < len(fs); {
		f := fs[i]
		i++
		if skip != "" && f.Name == skip {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendName(dst, f.Name, lower)
		dst = AppendString(dst, f.Value)
		for ; i < len(fs) && fs[i].Name == f.Name; i++ {
			// Append the next value as a string of its own, then make one of both: the closing quote of
			// the first becomes the comma, the opening quote of the second goes.
			seam := len(dst) - 1
			dst = AppendString(dst, fs[i].Value)
			dst[seam] = ','
			dst = append(dst[:seam+1], dst[seam+2:]...)
		}
	}
	return append(dst, '}')
}

// appendLast appends an object that has the last value of each name.
func appendLast(dst []byte, fs []Field, lower bool) []byte {
	dst = append(dst, '{')
	first := true
	for i, f := range fs {
		if i+1 < len(fs) && fs[i+1].Name == f.Name {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendName(dst, f.Name, lower)
		dst = AppendString(dst, f.Value)
	}
	return append(dst, '}')
}

// appendMulti appends an object that has the list of the values of each name.
func appendMulti(dst []byte, fs []Field, lower bool) []byte {
	dst = append(dst, '{')
	for i := 0; i < len(fs); {
		if i > 0 {
			dst = append(dst, ',')
		}
		name := fs[i].Name
		dst = appendName(dst, name, lower)
		dst = append(dst, '[')
		for n := 0; i < len(fs) && fs[i].Name == name; i, n = i+1, n+1 {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, fs[i].Value)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendName appends a key and a colon, the key's ASCII letters in lower case if lower.
func appendName(dst []byte, name string, lower bool) []byte {
	start := len(dst)
	dst = AppendString(dst, name)
	if lower {
		for i, c := range dst[start:] {
			if 'A' <= c && c <= 'Z' {
				dst[start+i] = c | 0x20
			}
		}
	}
	return append(dst, ':')
}

// appendOrNull appends s as a string, or null if it is empty.
func appendOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return AppendString(dst, s)
}

// appendLogTime appends t in the form of an access log: "14/Apr/2025:22:11:01 +0000".
func appendLogTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, "02/Jan/2006:15:04:05 +0000")
	return append(dst, '"')
}
