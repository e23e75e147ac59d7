package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

// Exit codes of the program.
const (
	CodeOK       = 0
	CodeError    = 1
	CodeUsage    = 2
	CodeNotFound = 3 // what was named does not exist
	CodeRefused  = 4 // not allowed, or the data directory is in use
	CodeDamaged  = 5 // verification found damage
)

// failure is an error with a hint and, through cause, a class.
type failure struct {
	message string
	fix     string
	cause   error // errUsage, errNotFound, errDamaged, or nil
}

func (f *failure) Error() string { return f.message }
func (f *failure) Hint() string  { return f.fix }
func (f *failure) Unwrap() error { return f.cause }

var (
	errNotFound = errors.New("not found")
	errRefused  = errors.New("refused")
	errDamaged  = errors.New("damaged")
)

func usage(c *cobra.Command, format string, args ...any) error {
	return &failure{message: fmt.Sprintf(format, args...), fix: "see: " + c.CommandPath() + " --help", cause: errUsage}
}

// ExitCode returns the exit code for what Run returned.
func ExitCode(err error) int {
	var answer *admin.Error
	var held *server.Held
	switch {
	case err == nil:
		return CodeOK
	case errors.Is(err, errUsage):
		return CodeUsage
	case errors.Is(err, errNotFound):
		return CodeNotFound
	case errors.Is(err, errDamaged):
		return CodeDamaged
	case errors.As(err, &held), errors.Is(err, errRefused):
		return CodeRefused
	case errors.As(err, &answer) && answer.Code == admin.NotFound:
		return CodeNotFound
	case errors.As(err, &answer) && answer.Code == admin.Refused:
		return CodeRefused
	}
	return CodeError
}

// report prints an error: one "error:" line for each mistake it holds, each followed by its hints.
func report(w io.Writer, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			report(w, one)
		}
		return
	}
	_, _ = fmt.Fprintf(w, "error: %s\n", audit.Printable(err.Error())) // nowhere else to complain
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) && hinted.Hint() != "" {
		_, _ = fmt.Fprintf(w, "hint: %s\n", audit.Printable(hinted.Hint()))
	}
}
