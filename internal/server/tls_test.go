package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair writes a new self-signed certificate for loopback and its key.
func writePair(t *testing.T, dir, name string, end time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	replace(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func replace(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// presented returns the common name of the certificate a new connection gets.
func presented(t *testing.T, url string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing was written
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTLSReload(t *testing.T) {
	dir := t.TempDir()
	year := time.Now().Add(365 * 24 * time.Hour)
	writePair(t, dir, "first", year)
	g := start(t, dir, fmt.Sprintf("tls: {cert: cert.pem, key: key.pem}\nservers: [{name: up, url: %q}]\n", upstream(t, nil)))
	if !strings.HasPrefix(g.URL, "https://") || presented(t, g.URL) != "first" {
		t.Fatalf("%s presents %s", g.URL, presented(t, g.URL))
	}
	key := g.key(t, "admin")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	if status, text, err := call(client, g.URL+"/up/mcp", key); status != http.StatusOK {
		t.Fatalf("%d %s, %v", status, text, err)
	}

	writePair(t, dir, "second", year)
	g.log.await(t, "took up a new TLS certificate", 1)
	if got := presented(t, g.URL); got != "second" {
		t.Errorf("presents %s after the change", got)
	}
	reused := false
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused },
	}), http.MethodGet, g.URL+"/up/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil || !reused {
		t.Fatalf("the connection was dropped by the change: %v", err)
	}
	_ = response.Body.Close() // only the connection counts

	replace(t, filepath.Join(dir, "cert.pem"), []byte("not a certificate"))
	g.log.await(t, "the changed TLS certificate is not used", 1)
	if got := presented(t, g.URL); got != "second" {
		t.Errorf("presents %s after a broken change", got)
	}
	writePair(t, dir, "expired", time.Now().Add(-time.Minute))
	g.log.await(t, "the certificate has expired", 1)
	if got := presented(t, g.URL); got != "second" {
		t.Errorf("presents %s after an expired change", got)
	}
	if _, text := get(t, "http://"+g.Admin+"/metrics", "", ""); !strings.Contains(text, fmt.Sprintf("sallyport_certificate_expiry_seconds %v", float64(year.Unix()))) {
		t.Error("the metrics do not say when the certificate ends")
	}
}

func TestTLSRefuses(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "first", time.Now().Add(time.Hour))
	g := start(t, dir, "tls: {cert: cert.pem, key: key.pem}\n")
	for name, config := range map[string]*tls.Config{
		"TLS 1.1":           {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"1.2 with CBC":      {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}},
		"1.2 without ECDHE": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}},
	} {
		config.InsecureSkipVerify = true
		if conn, err := tls.Dial("tcp", strings.TrimPrefix(g.URL, "https://"), config); err == nil {
			_ = conn.Close() // it should not be there
			t.Errorf("%s was accepted", name)
		}
	}
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(g.URL, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err != nil {
			t.Errorf("%s was refused: %v", name, err)
			continue
		}
		if got := conn.ConnectionState().Version; got != version {
			t.Errorf("asked for %s, got %x", name, got)
		}
		_ = conn.Close() // nothing was written
	}
}
