package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// certificate is a pair of files that is read again when it changes. It is safe for concurrent use by handshakes; reload
// is called by one goroutine.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	read              [2][]byte // what current was made from; owned by the caller of reload
}

// loadCertificate reads the pair for the first time.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.reload(); err != nil {
		return nil, &Mistake{Err: fmt.Errorf("reading the TLS certificate: %w", err), Fix: "check tls.cert and tls.key: a PEM chain, leaf first, and its private key"}
	}
	return c, nil
}

// reload reads the pair again and reports whether it is new. A pair that cannot be read, does not fit together or has
// expired is an error and leaves the current one in use.
func (c *certificate) reload() (changed bool, err error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, err
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, err
	}
	if c.current.Load() != nil && bytes.Equal(cert, c.read[0]) && bytes.Equal(key, c.read[1]) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, errors.New("certificate and key do not fit together, or one is not PEM") // the cause may quote the file
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		return false, fmt.Errorf("the certificate has expired on %s", end.UTC().Format(time.DateOnly))
	}
	c.current.Store(&pair)
	c.read = [2][]byte{cert, key}
	return true, nil
}

// expires returns when the certificate in use ends.
func (c *certificate) expires() time.Time { return c.current.Load().Leaf.NotAfter }

// config is the TLS of the MCP listener: 1.2 with AEAD suites and forward secrecy at least, 1.3 preferred.
func (c *certificate) config(minVersion string) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // for 1.2; those of 1.3 are all AEAD and not chosen here
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
		NextProtos:     []string{"h2", "http/1.1"},
	}
	if minVersion == "1.3" {
		config.MinVersion = tls.VersionTLS13
	}
	return config
}
