package sqs

import (
	"net/http"

	"github.com/millrace/millrace/stack/wire"
)

// The errors of SQS have one name in the JSON protocol and another, older one in the Query protocol, which the JSON
// protocol repeats in a header. See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html.

func invalidParameter(format string, args ...any) *wire.Error {
	e := wire.Errorf("InvalidParameterValueException", format, args...)
	e.QueryCode = "InvalidParameterValue"
	return e
}

// invalidValue words a refusal of one parameter as SQS does.
func invalidValue(parameter string, value any, format string, args ...any) *wire.Error {
	return invalidParameter("Value %v for parameter %s is invalid. Reason: "+format, append([]any{value, parameter}, args...)...)
}

func missingParameter(name string) *wire.Error {
	e := wire.Errorf("MissingRequiredParameterException", "The request must contain the parameter %s.", name)
	e.QueryCode = "MissingParameter"
	return e
}

func invalidAttributeName(format string, args ...any) *wire.Error {
	return wire.Errorf("InvalidAttributeName", format, args...)
}

func invalidAttributeValue(name, reason string) *wire.Error {
	if reason != "" {
		reason = " Reason: " + reason
	}
	return wire.Errorf("InvalidAttributeValue", "Invalid value for the parameter %s.%s", name, reason)
}

// queueDoesNotExist has one sentence for each protocol.
func queueDoesNotExist(query bool) *wire.Error {
	e := wire.Errorf("QueueDoesNotExist", "The specified queue does not exist.")
	if query {
		e.Message = "The specified queue does not exist for this wsdl version."
	}
	e.QueryCode = "AWS.SimpleQueueService.NonExistentQueue"
	return e
}

// invalidHandle refuses what is no handle, or one of another queue's.
func invalidHandle(format, handle string) *wire.Error {
	e := wire.Errorf("ReceiptHandleIsInvalid", format, handle)
	e.Status = http.StatusNotFound
	return e
}

func expiredHandle(handle string) *wire.Error {
	return invalidValue("ReceiptHandle", handle, "The receipt handle has expired.")
}

func unavailableHandle(handle string) *wire.Error {
	return invalidValue("ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change.")
}

func wrongQueueType(parameter string, value any) *wire.Error {
	return invalidValue(parameter, value, "The request include parameter that is not valid for this queue type.")
}

func overLimit(format string, args ...any) *wire.Error {
	e := wire.Errorf("OverLimit", format, args...)
	e.Status = http.StatusForbidden
	return e
}

func unsupported(format string, args ...any) *wire.Error {
	e := wire.Errorf("UnsupportedOperation", format, args...)
	e.QueryCode = "AWS.SimpleQueueService.UnsupportedOperation"
	return e
}

func batchError(code, format string, args ...any) *wire.Error {
	e := wire.Errorf(code, format, args...)
	e.QueryCode = "AWS.SimpleQueueService." + code
	return e
}

func notFound(format string, args ...any) *wire.Error {
	e := wire.Errorf("ResourceNotFoundException", format, args...)
	e.Status = http.StatusNotFound
	return e
}
