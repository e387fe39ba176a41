package event

// AppendALB appends the document of an Application Load Balancer's Lambda target. With multi, as the target
// group's attribute lambda.multi_value_headers.enabled has it, headers and query have lists of values and
// the single-valued forms are left out; otherwise the last value of each name counts
// (https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html).
func AppendALB(dst []byte, r *HTTPRequest, multi bool) []byte {
	dst = append(dst, `{"requestContext":{"elb":{"targetGroupArn":`...)
	dst = AppendString(dst, r.TargetGroupARN)
	dst = append(dst, `}},"httpMethod":`...)
	dst = AppendString(dst, r.Method)
	dst = append(dst, `,"path":`...)
	dst = AppendString(dst, r.Path)
	if multi {
		dst = append(dst, `,"multiValueQueryStringParameters":`...)
		dst = appendMulti(dst, r.Query, false)
		dst = append(dst, `,"multiValueHeaders":`...)
		dst = appendMulti(dst, r.Headers, true)
	} else {
		dst = append(dst, `,"queryStringParameters":`...)
		dst = appendLast(dst, r.Query, false)
		dst = append(dst, `,"headers":`...)
		dst = appendLast(dst, r.Headers, true)
	}
	dst = append(dst, `,"body":`...)
	dst = appendBody(dst, r)
	dst = append(dst, `,"isBase64Encoded":`...)
	dst = AppendBool(dst, r.Base64)
	return append(dst, '}')
}
