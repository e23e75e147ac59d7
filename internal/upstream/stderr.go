package upstream

import (
	"bufio"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a child may add to our log.
const (
	maxErrorLine   = 1 << 10 // bytes; the rest of a line is dropped
	maxErrorLines  = 50      // in each errorInterval
	errorInterval  = 10 * time.Second
	minSecretShown = 6 // shorter values of the configured environment are too common to be cut out
)

// logErrors copies the child's stderr to the log: cut, escaped, so many lines at a time, and without the values of its
// configured environment, which are often credentials.
func (s *session) logErrors(p *process) {
	lines := bufio.NewReaderSize(p.stderr, maxErrorLine)
	logger := s.owner.config.Logger
	var since time.Time
	var shown, dropped int
	for {
		part, err := lines.ReadSlice('\n')
		text := string(part)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if now := s.owner.config.Now(); now.Sub(since) >= errorInterval {
			if dropped > 0 {
				logger.Warn("child wrote more to stderr", "lines_dropped", dropped)
			}
			since, shown, dropped = now, 0, 0
		}
		switch {
		case strings.TrimSpace(text) == "":
		case shown < maxErrorLines:
			shown++
			logger.Info("child stderr", "line", s.clean(text))
		default:
			dropped++
		}
		if err != nil {
			return
		}
	}
}

// clean makes a line of the child fit for a log.
func (s *session) clean(line string) string {
	for _, v := range s.owner.config.Env {
		if len(v) >= minSecretShown {
			line = strings.ReplaceAll(line, v, "[redacted]")
		}
	}
	var b strings.Builder
	for _, r := range strings.TrimRight(line, "\r\n") {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}
