// Package router says which events go where: it compiles the event patterns of EventBridge rules, Lambda event
// filters and SNS filter policies, and matches JSON documents against them.
package router
