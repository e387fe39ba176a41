package lambdaapi

import (
	"encoding/json"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/plugin"
)

// Operations that only tell of what the file defines.
const (
	opList          = "ListFunctions"
	opGet           = "GetFunction"
	opConfiguration = "GetFunctionConfiguration"
	opConcurrency   = "GetFunctionConcurrency"
	opAccount       = "GetAccountSettings"
)

// The answers, as the API model names their members; what a function of the file has not is left out.
type (
	configuration struct {
		FunctionName     string
		FunctionArn      string
		Description      string
		Runtime          string   `json:",omitempty"`
		Handler          string   `json:",omitempty"`
		CodeSize         int64    //
		CodeSha256       string   `json:",omitempty"`
		Timeout          int      // seconds
		MemorySize       int64    `json:",omitempty"` // MB
		LastModified     string   `json:",omitempty"`
		Version          string   //
		PackageType      string   //
		Architectures    []string //
		State            string   //
		LastUpdateStatus string   //
	}
	function struct {
		Configuration configuration
		Code          struct{ RepositoryType, Location string }
		Concurrency   *concurrency `json:",omitempty"`
	}
	concurrency struct {
		ReservedConcurrentExecutions *int `json:",omitempty"`
	}
	accountLimit struct {
		CodeSizeUnzipped, CodeSizeZipped, TotalCodeSize int64
		ConcurrentExecutions                            int
		UnreservedConcurrentExecutions                  int
	}
	accountUsage struct {
		FunctionCount int
		TotalCodeSize int64
	}
)

const maxListed = 50 // functions of one page, as AWS's

// control serves what is not an invocation.
func (s *server) control(w http.ResponseWriter, r *http.Request, op, addressText string) {
	id := uuid.NewString()
	body, e := s.readBody(w, r, nil, executor.MaxPayload, op)
	if e == nil && s.verifier != nil {
		if _, err := s.verifier.Verify(r, body); err != nil {
			e = fromSignature(err)
		}
	}
	if e == nil && (op == opUnknown || s.names == nil && (op == opList || op == opAccount)) {
		e = unknown(r)
	}
	var answer any
	switch {
	case e != nil:
	case op == opList:
		answer, e = s.list(r)
	case op == opAccount:
		answer = s.accountSettings()
	default:
		answer, e = s.describe(r, op, addressText)
	}
	if e != nil {
		s.fail(w, r, op, id, e)
		return
	}
	data, err := json.Marshal(answer)
	if err != nil {
		s.fail(w, r, op, id, &apiError{code: "ServiceException", status: 500, fault: "Service", upper: true, message: err.Error()})
		return
	}
	s.metrics.requests.WithLabelValues(op, "ok").Inc()
	h := w.Header()
	h["x-amzn-RequestId"] = []string{id}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(data))}
	w.Write(data)
}

func (s *server) describe(r *http.Request, op, addressText string) (any, *apiError) {
	queryQualifier, err := queryValue(r.URL.RawQuery, "Qualifier")
	if err != nil {
		return nil, invalidParameter("the query has a bad percent-encoding: %v", err)
	}
	name, qualifier, e := s.resolve(addressText, queryQualifier)
	if e != nil {
		return nil, e
	}
	_, info, ok := s.function(name)
	if !ok {
		return nil, notFound(functionARN(s.region, s.account, name), qualifier)
	}
	if e := qualified(info.ARN, qualifier); e != nil {
		return nil, e
	}
	switch op {
	case opConfiguration:
		return configurationOf(name, info, qualifier), nil
	case opConcurrency:
		if c := concurrencyOf(info); c != nil {
			return c, nil
		}
		return concurrency{}, nil
	}
	f := function{Configuration: configurationOf(name, info, qualifier), Concurrency: concurrencyOf(info)}
	f.Code.RepositoryType = "millrace"
	return f, nil
}

func (s *server) list(r *http.Request) (any, *apiError) {
	marker, err := queryValue(r.URL.RawQuery, "Marker")
	if err != nil {
		return nil, invalidParameter("the query has a bad percent-encoding: %v", err)
	}
	limit := maxListed
	if text, err := queryValue(r.URL.RawQuery, "MaxItems"); err != nil || text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 10000 {
			return nil, validation([]string{constraint(text, "maxItems", "have value between 1 and 10000")})
		}
		limit = min(n, maxListed)
	}
	answer := struct {
		Functions  []configuration
		NextMarker string `json:",omitempty"`
	}{Functions: []configuration{}}
	names := s.names()
	start, exact := slices.BinarySearch(names, marker)
	if exact {
		start++ // the marker is the last name of the page before
	}
	for i, name := range names[start:] {
		if len(answer.Functions) == limit {
			answer.NextMarker = names[start+i-1]
			break
		}
		if _, info, ok := s.function(name); ok {
			answer.Functions = append(answer.Functions, configurationOf(name, info, ""))
		}
	}
	return answer, nil
}

func configurationOf(name string, info Info, qualifier string) configuration {
	c := configuration{
		FunctionName: name, FunctionArn: info.ARN, Description: info.Description,
		Runtime: info.Runtime, Handler: info.Handler,
		CodeSize: info.CodeSize, CodeSha256: info.CodeSHA256,
		Timeout: int((info.Timeout + time.Second - 1) / time.Second), MemorySize: int64(info.Memory / plugin.MB),
		Version: latest, PackageType: "Zip", Architectures: []string{architecture()},
		State: "Active", LastUpdateStatus: "Successful",
	}
	if qualifier != "" {
		c.FunctionArn += ":" + qualifier
	}
	if !info.Modified.IsZero() {
		c.LastModified = info.Modified.UTC().Format("2006-01-02T15:04:05.000+0000")
	}
	return c
}

func architecture() string {
	if runtime.GOARCH == "amd64" {
		return "x86_64"
	}
	return runtime.GOARCH
}

func concurrencyOf(info Info) *concurrency {
	if info.Reserved == executor.Unreserved {
		return nil
	}
	return &concurrency{ReservedConcurrentExecutions: &info.Reserved}
}

func (s *server) accountSettings() any {
	limit := accountLimit{
		CodeSizeUnzipped: 250 << 20, CodeSizeZipped: 50 << 20, TotalCodeSize: 75 << 30,
		ConcurrentExecutions: s.concurrency, UnreservedConcurrentExecutions: s.concurrency,
	}
	var usage accountUsage
	for _, name := range s.names() {
		_, info, ok := s.function(name)
		if !ok {
			continue
		}
		usage.FunctionCount++
		usage.TotalCodeSize += info.CodeSize
		if info.Reserved != executor.Unreserved {
			limit.UnreservedConcurrentExecutions -= info.Reserved
		}
	}
	return struct {
		AccountLimit accountLimit
		AccountUsage accountUsage
	}{limit, usage}
}
