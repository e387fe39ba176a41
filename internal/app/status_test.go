package app

import (
	"testing"

	"github.com/millrace/millrace/sources/httpapi"
	"github.com/millrace/millrace/sources/s3"
)

func TestExamplesReachTheirTriggers(t *testing.T) {
	t.Parallel()
	url, api, rest, drop, hook := httpapi.FunctionURLDefaults(), httpapi.HTTPAPIDefaults(), httpapi.RESTAPIDefaults(), s3.Defaults(), s3.Defaults()
	url.Path = "/hello"
	api.Host, api.Routes = "api.test", []string{"GET /orders/{id}", "POST /orders"}
	rest.Path, rest.Stage, rest.Routes = "/rest/", "prod", []string{"ANY /x/{proxy+}"}
	drop.Directory, drop.Prefix = "./drop", "in/"
	hook.Listen = "/notify"
	for want, config := range map[string]any{
		"curl 'http://g:1/hello'":                         &url,
		"curl -H 'Host: api.test' 'http://g:1/orders/id'": &api,
		"curl 'http://g:1/rest/prod/x/proxy'":             &rest,
		"echo hello > '/folder/drop/in/hello.txt'":        &drop,
		"": &hook,
	} {
		if got := example("http://g:1", "/folder", config); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := example("", "/folder", &url); got != "" {
		t.Errorf("without a gateway: %s", got)
	}
}
