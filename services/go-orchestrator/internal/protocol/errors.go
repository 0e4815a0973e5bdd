package protocol

import (
	"cmp"
	"fmt"

	"pangea.example/pangea/schemas/tensor"
)

// Action says what the receiver of an error should do.
type Action uint16

// The actions of the schema.
const (
	ActionUnspecified = Action(tensor.ErrorAction_unspecified)
	FixRequest        = Action(tensor.ErrorAction_fixRequest)
	RetryLater        = Action(tensor.ErrorAction_retryLater)
	Reconnect         = Action(tensor.ErrorAction_reconnect)
	Resync            = Action(tensor.ErrorAction_resync)
	Stop              = Action(tensor.ErrorAction_stop)
)

// String gives the schema's name.
func (a Action) String() string { return cmp.Or(tensor.ErrorAction(a).String(), "unknown") }

// Error is the one error that crosses the wire. It is a reply and a Go error, so that its kind
// survives from where it was found.
type Error struct {
	Action     Action
	Detail     string  // what went wrong, where, and what to do; one sentence
	Refused    Kind    // of the refused message; unspecified if it could not be read
	RetryAfter float64 // seconds, for RetryLater
}

// Errorf makes an Error with a sentence for people.
func Errorf(action Action, format string, args ...any) *Error {
	return &Error{Action: action, Detail: fmt.Sprintf(format, args...)}
}

// Error gives the sentence.
func (e *Error) Error() string { return e.Detail }

// Kind names the message.
func (*Error) Kind() Kind { return KindErrorReply }
