package event

// AppendRESTAPI appends the document of a REST API with Lambda proxy integration, payload 1.0: what is empty
// is null, header names keep their spelling
// (https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html).
func AppendRESTAPI(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `{"resource":`...)
	dst = appendV1(dst, r)
	dst = append(dst, `,"requestContext":{`...)
	dst = appendRESTContext(dst, r)
	return appendV1Body(dst, r)
}

// AppendHTTPAPIv1 appends the document of an HTTP API with payload format 1.0.
func AppendHTTPAPIv1(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `{"version":"1.0","resource":`...)
	dst = appendV1(dst, r)
	dst = append(dst, `,"requestContext":{`...)
	dst = appendV1Context(dst, r)
	return appendV1Body(dst, r)
}

// appendV1 appends from the value of resource to the stage variables.
func appendV1(dst []byte, r *HTTPRequest) []byte {
	dst = AppendString(dst, r.Resource)
	dst = append(dst, `,"path":`...)
	dst = AppendString(dst, r.Path)
	dst = append(dst, `,"httpMethod":`...)
	dst = AppendString(dst, r.Method)
	dst = append(dst, `,"headers":`...)
	dst = appendLast(dst, r.Headers, false)
	dst = append(dst, `,"multiValueHeaders":`...)
	dst = appendMulti(dst, r.Headers, false)
	dst = append(dst, `,"queryStringParameters":`...)
	if len(r.Query) == 0 {
		dst = append(dst, `null,"multiValueQueryStringParameters":null`...)
	} else {
		dst = appendLast(dst, r.Query, false)
		dst = append(dst, `,"multiValueQueryStringParameters":`...)
		dst = appendMulti(dst, r.Query, false)
	}
	dst = append(dst, `,"pathParameters":`...)
	dst = appendLastOrNull(dst, r.PathParameters)
	dst = append(dst, `,"stageVariables":`...)
	return appendLastOrNull(dst, r.StageVariables)
}

// appendV1Body closes the request context and appends the rest.
func appendV1Body(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `},"body":`...)
	if len(r.Body) == 0 {
		return append(dst, `null,"isBase64Encoded":false}`...)
	}
	dst = appendBody(dst, r)
	dst = append(dst, `,"isBase64Encoded":`...)
	dst = AppendBool(dst, r.Base64)
	return append(dst, '}')
}

func appendLastOrNull(dst []byte, fs []Field) []byte {
	if len(fs) == 0 {
		return append(dst, "null"...)
	}
	return appendLast(dst, fs, false)
}

func appendRESTContext(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `"deploymentId":`...)
	dst = AppendString(dst, r.DeploymentID)
	dst = append(dst, `,"identity":{"cognitoIdentityPoolId":null,"accountId":null,"cognitoIdentityId":null,"caller":null,"sourceIp":`...)
	dst = AppendString(dst, r.SourceIP)
	dst = append(dst, `,"principalOrgId":null,"accessKey":null,"cognitoAuthenticationType":null,"cognitoAuthenticationProvider":null,"userArn":null,"userAgent":`...)
	dst = appendOrNull(dst, r.UserAgent)
	dst = append(dst, `,"user":null},`...)
	return appendV1Common(dst, r)
}

func appendV1Context(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `"identity":{"accessKey":null,"accountId":null,"caller":null,"cognitoAuthenticationProvider":null,"cognitoAuthenticationType":null,"cognitoIdentityId":null,"cognitoIdentityPoolId":null,"principalOrgId":null,"sourceIp":`...)
	dst = AppendString(dst, r.SourceIP)
	dst = append(dst, `,"user":null,"userAgent":`...)
	dst = AppendString(dst, r.UserAgent)
	dst = append(dst, `,"userArn":null},`...)
	return appendV1Common(dst, r)
}

// appendV1Common appends the members that the request contexts of REST and HTTP APIs share.
func appendV1Common(dst []byte, r *HTTPRequest) []byte {
	dst = append(dst, `"accountId":`...)
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
	dst = append(dst, `,"extendedRequestId":`...)
	dst = AppendString(dst, r.RequestID)
	dst = append(dst, `,"httpMethod":`...)
	dst = AppendString(dst, r.Method)
	dst = append(dst, `,"path":`...)
	dst = AppendString(dst, r.ContextPath)
	dst = append(dst, `,"protocol":`...)
	dst = AppendString(dst, r.Protocol)
	dst = append(dst, `,"requestId":`...)
	dst = AppendString(dst, r.RequestID)
	dst = append(dst, `,"requestTime":`...)
	dst = appendLogTime(dst, r.Time)
	dst = append(dst, `,"requestTimeEpoch":`...)
	dst = AppendInt(dst, r.Time.UnixMilli())
	dst = append(dst, `,"resourceId":`...)
	dst = AppendString(dst, r.ResourceID)
	dst = append(dst, `,"resourcePath":`...)
	dst = AppendString(dst, r.Resource)
	dst = append(dst, `,"stage":`...)
	return AppendString(dst, r.Stage)
}
