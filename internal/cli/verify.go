package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

func (a *app) auditVerify() *cobra.Command {
	var checkpoints []string
	var publicKey string
	c := &cobra.Command{
		Use: "verify", Short: "Check that no record was changed, removed or added", Args: none,
		Long: `Check that no record was changed, removed or added.

What the log proves by itself is that it agrees with itself: who owns the machine could have written all of it anew.
Give checkpoints that were kept elsewhere, such as the process log in a journal, to prove more. Exit code 5: damage.`,
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := a.auditDir()
			if err != nil {
				return err
			}
			config := auditlog.VerifyConfig{Dir: dir}
			if config.PublicKey, err = keyText(publicKey); err != nil {
				return err
			}
			for _, name := range checkpoints {
				text, err := a.read(name)
				if err != nil {
					return &failure{message: "reading checkpoints: " + err.Error(), fix: "give a file, or - for standard input"}
				}
				config.Checkpoints = append(config.Checkpoints, text)
			}
			report, err := auditlog.Verify(c.Context(), config)
			if err != nil {
				return fmt.Errorf("verifying %s: %w", dir, err)
			}
			return a.verified(&report)
		},
	}
	c.Flags().StringArrayVar(&checkpoints, "checkpoints", nil, "file with checkpoints that were kept elsewhere, such as the process log; - reads standard input; may be repeated")
	c.Flags().StringVar(&publicKey, "public-key", "", "public key of the log, or a file with it (default: the one beside the log, which proves less)")
	return a.located(a.readable(c))
}

// keyText returns a public key that was given itself or as a file.
func keyText(given string) (string, error) {
	if given == "" || strings.Contains(given, "+") && !strings.ContainsAny(given, `\.`) {
		return given, nil
	}
	text, err := os.ReadFile(given)
	if err != nil {
		return "", &failure{message: "reading the public key: " + err.Error(), fix: "give the key itself, or a file with it"}
	}
	return strings.TrimSpace(string(text)), nil
}

func (a *app) read(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.stdin)
	}
	return os.ReadFile(name)
}

func (a *app) verified(r *auditlog.VerifyReport) error {
	var err error
	if r.Fault != nil {
		err = &failure{message: "the audit log is damaged: " + r.Fault.String(), fix: "keep a copy of the directory as it is before anything else", cause: errDamaged}
	}
	if a.asJSON {
		return errors.Join(a.printJSON(verification(r)), err)
	}
	said := a.say("%s\nrecords: %d, stored checkpoints: %d, checkpoints from elsewhere: %d\n", r.Result, r.Records, r.Stored, r.Anchors)
	if said == nil && r.Unusable > 0 {
		said = a.say("given checkpoints that the key did not sign: %d\n", r.Unusable)
	}
	if said == nil && r.Anchors > 0 && r.LastAnchor < r.Records {
		said = a.say("records after %d are consistent, not anchored\n", r.LastAnchor)
	}
	if said == nil && r.Torn != nil {
		said = a.say("an unfinished last record of %d bytes, which nobody was told is recorded\n", r.Torn.Bytes)
	}
	return errors.Join(said, err)
}

// verification is the result for programs.
func verification(r *auditlog.VerifyReport) any {
	v := struct {
		Result      string       `json:"result"`
		Records     uint64       `json:"records"`
		FirstBody   uint64       `json:"first_body"`  // the first record whose body is there
		LastAnchor  uint64       `json:"last_anchor"` // the last record that a checkpoint from elsewhere covers
		Checkpoints int          `json:"checkpoints"`
		Anchors     int          `json:"anchors"`
		Unusable    int          `json:"unusable"`
		TornBytes   int64        `json:"torn_bytes,omitempty"`
		Fault       *faultReport `json:"fault,omitzero"`
	}{Result: r.Result, Records: r.Records, FirstBody: r.FirstBody, LastAnchor: r.LastAnchor, Checkpoints: r.Stored, Anchors: r.Anchors, Unusable: r.Unusable}
	if r.Torn != nil {
		v.TornBytes = r.Torn.Bytes
	}
	if r.Fault != nil {
		v.Fault = &faultReport{r.Fault.Seq, r.Fault.After, r.Fault.Until, audit.Printable(r.Fault.Reason)}
	}
	return v
}

// faultReport is where the log stops agreeing.
type faultReport struct {
	Seq    uint64 `json:"seq,omitzero"`
	After  uint64 `json:"after,omitzero"`
	Until  uint64 `json:"until,omitzero"`
	Reason string `json:"reason"`
}
