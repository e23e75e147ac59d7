//go:build unix

package accept_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAcceptCanary puts secrets wherever a client or a configuration can put one, makes calls that end in every way,
// and looks for them, raw and encoded, in everything that comes out.
func TestAcceptCanary(t *testing.T) {
	upstream := startEcho(t, modern)
	signing := filepath.Join(t.TempDir(), "signing")
	if err := os.WriteFile(signing, []byte("canarySigning7QcanarySigning7QcanarySigning7Q"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, setup{
		servers: []guarded{
			{name: "echo", url: upstream.url},
			{name: "child", command: []string{everythingProgram(t)}, env: map[string]string{"API_TOKEN": "canaryEnvironment7Q"}},
		},
		extra: "roles: {reader: {permissions: [\"echo:echo\", \"child:*\"]}}\n" +
			"auth: {tokens: {algorithm: HS256, secret: \"${file:" + signing + "}\"}}\n",
		env: []string{"UNRELATED=canaryUnrelated7Q"},
	})
	key := g.newKey(t, "reader")
	canaries := []string{
		"canaryEnvironment7Q", "canarySigning7Q", "canaryUnrelated7Q", "canaryCookie7Q", "canaryHeader7Q", "canaryProxy7Q",
		"canaryBadKey7Q", "canaryQuery7Q", "canaryArgument7Q", "canaryMeta7Q", "canarySession7Q", "canaryBasic7Q",
		key, strings.Split(key, "_")[2],
	}

	var replies bytes.Buffer // what callers other than the owner of a secret could see
	try := func(keep bool, url, key string, header http.Header, tool string, args map[string]any) {
		c := newClient(url, key, modern)
		defer c.http.CloseIdleConnections()
		c.header = header
		r, err := c.call(t.Context(), tool, args)
		if err != nil {
			t.Errorf("calling %s: %v", tool, err)
			return
		}
		if keep {
			replies.Write(r.Body)
			_ = r.Header.Write(&replies) // A buffer does not fail.
		}
	}
	extra := http.Header{"Cookie": {"session=canaryCookie7Q"}, "X-Custom": {"canaryHeader7Q"}, "Proxy-Authorization": {"Basic canaryProxy7Q"}}
	secretArgs := map[string]any{"text": "canaryArgument7Q"}
	url := g.endpoint("echo")
	try(false, url, key, extra, "echo", secretArgs)                                          // allowed: the echo is the caller's own
	try(true, url, key, extra, "keep", secretArgs)                                           // denied
	try(true, url, key, extra, "echo", map[string]any{"text": []string{"canaryArgument7Q"}}) // invalid
	try(true, url, "sp_abcd_canaryBadKey7QcanaryBadKey7QcanaryBadKey7Q", extra, "echo", secretArgs)
	try(true, url, "eyJhbGciOiJub25lIn0.canaryBadKey7Q.canaryBadKey7Q", extra, "echo", secretArgs)
	try(true, url+"?access_token=canaryQuery7Q", "", nil, "echo", secretArgs)
	try(true, url, "", http.Header{"Authorization": {"Basic canaryBasic7Q"}}, "echo", secretArgs)
	try(true, url, key, http.Header{"Mcp-Session-Id": {"canarySession7Q"}}, "echo", secretArgs)
	try(false, url, key, nil, "echo", map[string]any{"text": "x", "canaryArgument7Q": "canaryMeta7Q"}) // the caller is told which name is wrong
	try(false, g.endpoint("child"), key, extra, "test_simple_text", nil)
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		resp, err := http.Get(g.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(&replies, resp.Body)
		_ = resp.Body.Close() // Read to its end.
		if err != nil {
			t.Fatal(err)
		}
	}
	listed := g.command(t, "key", "list") + g.command(t, "audit", "events")
	if err := g.stop(t); err != nil {
		t.Errorf("stopping: %v", err)
	}

	places := map[string]string{
		"the program's output":    g.out.String(),
		"answers and metrics":     replies.String(),
		"the command line":        listed,
		"headers to the upstream": strings.Join(upstream.headers(), "\n"),
	}
	for name, text := range files(t, g.data) {
		places["the file "+name] = text
	}
	for place, text := range places {
		for _, canary := range canaries {
			for form, encoded := range encodings(canary) {
				if strings.Contains(text, encoded) {
					t.Errorf("%s holds %s (%s)", place, canary, form)
				}
			}
		}
	}
	if len(g.records(t)) < 10 {
		t.Errorf("the log has only %d records: the calls were not made", len(g.records(t)))
	}
}

// encodings are the forms in which a secret may stand in a text: as it is, in hexadecimal, and the part of each of the
// three alignments of base64 that does not depend on its neighbours.
func encodings(secret string) map[string]string {
	forms := map[string]string{
		"raw": secret, "hex": hex.EncodeToString([]byte(secret)), "upper hex": strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for shift, name := range []string{"base64", "base64 after one byte", "base64 after two bytes"} {
		text := base64.RawStdEncoding.EncodeToString([]byte("..."[:shift] + secret + "..."))
		forms[name] = text[(shift*4+2)/3 : (shift+len(secret))*4/3-1]
	}
	return forms
}

func TestEncodings(t *testing.T) {
	for _, before := range []string{"", "a", "ab", "abc"} {
		text := base64.StdEncoding.EncodeToString([]byte(before + "canarySecret7Q" + "tail"))
		var found bool
		for _, form := range encodings("canarySecret7Q") {
			found = found || strings.Contains(text, form)
		}
		if !found {
			t.Errorf("not found after %q: %s", before, text)
		}
	}
	for form, encoded := range encodings("canarySecret7Q") {
		if len(encoded) < 12 || strings.Contains("an innocent text of some length", encoded) {
			t.Errorf("%s: %q is too short to mean anything", form, encoded)
		}
	}
}

// files returns the content of every regular file below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
