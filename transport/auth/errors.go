package auth

import (
	"fmt"

	"github.com/godwitdb/godwit/transport"
)

// refuse returns the error that a peer is told.
func refuse(code, format string, args ...any) error {
	return &transport.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
