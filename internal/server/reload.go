package server

import (
	"context"
	"fmt"
	"reflect"

	"github.com/sallyport-mcp/sallyport"
)

// watch follows the files that can change while the program runs.
func (p *program) watch(ctx context.Context) (<-chan struct{}, error) {
	var paths []string
	if p.options.Path != "" {
		paths = append(paths, p.options.Path)
	}
	if p.certificate != nil {
		paths = append(paths, p.certificate.certFile, p.certificate.keyFile)
	}
	return watch(ctx, paths, p.options.Reload, func(forced bool) {
		p.renewCertificate()
		p.reload(ctx, forced)
	})
}

// renewCertificate takes up a changed pair; a broken one is logged and the old one stays.
func (p *program) renewCertificate() {
	if p.certificate == nil {
		return
	}
	switch changed, err := p.certificate.reload(); {
	case err != nil:
		p.log.Error("the changed TLS certificate is not used; the old one stays", "error", err, "expires", p.certificate.expires())
	case changed:
		p.log.Info("took up a new TLS certificate", "expires", p.certificate.expires())
	}
}

// reload takes up a changed file as a whole, or refuses it, records that, and keeps the old one. Without forced, a file
// that says the same as before, or is refused for the same reason as before, is passed over.
func (p *program) reload(ctx context.Context, forced bool) {
	if p.options.Path == "" {
		return
	}
	next, err := ReadFile(p.options.Path, p.options.Getenv)
	if err == nil {
		err = findChildren(next)
	}
	if err == nil {
		err = p.fixed(next)
	}
	if err != nil {
		p.refuse(ctx, err, forced)
		return
	}
	next.Listen = p.file.Listen
	switch {
	case forced:
	case reflect.DeepEqual(next, p.file):
		p.rejected, p.refused = nil, ""
		return
	case reflect.DeepEqual(next, p.rejected):
		return
	}
	if err := p.data.Guard.Reload(ctx, p.guardConfig(next)); err != nil {
		p.log.Error("the changed configuration is not used; the old one stays", "error", err) // the guard has recorded it
		p.rejected, p.refused = next, ""
		return
	}
	p.file, p.rejected, p.refused = next, nil, ""
	p.posture.Store(next)
	p.log.Info("took up the changed configuration", "file", p.options.Path)
}

// refuse logs and records a file that cannot be taken up.
func (p *program) refuse(ctx context.Context, err error, forced bool) {
	text := err.Error()
	if text == p.refused && !forced {
		return
	}
	p.refused = text
	p.log.Error("the changed configuration is not used; the old one stays", "error", text)
	if err := p.data.Operations().RejectConfig(ctx, text); err != nil {
		p.log.Error("the refusal could not be recorded", "error", err)
	}
}

// fixed reports a change of what this package opened at the start. The guard reports the rest.
func (p *program) fixed(next *File) error {
	for _, part := range []struct {
		key  string
		same bool
	}{
		{"listen", next.Listen == p.written},
		{"admin.listen", next.Admin == p.file.Admin},
		{"data_dir", next.DataDir == p.file.DataDir},
		{"tls", next.TLS.Cert == p.file.TLS.Cert && next.TLS.Key == p.file.TLS.Key && next.TLS.MinVersion == p.file.TLS.MinVersion},
	} {
		if !part.same {
			return &Mistake{Err: fmt.Errorf("%s cannot change while the program runs", part.key), Fix: "restart it"}
		}
	}
	return nil
}

func (p *program) guardConfig(f *File) sallyport.Config {
	c := f.guardConfig()
	c.Store, c.ChildExec, c.Log = p.data.store, p.options.ChildExec, p.log
	return c
}
