// Passwords are where docker keeps them: in the file below, as base64 under "auths", or with a
// program docker-credential-NAME that "credHelpers" or "credsStore" of that file name.
// https://docs.docker.com/reference/cli/docker/login/#credential-stores
//
// The files of podman and skopeo are read as well. As in containers-auth.json(5), an entry may be
// for a registry or for a part of it. The most specific one of a file counts:
//
//	registry.example.org/course/lab1, registry.example.org/course, registry.example.org

package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"oras.land/oras-go/v2/errdef"
	orasregistry "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"tiffin/image/reference"
	"tiffin/image/registry/token"
	"tiffin/internal/errs"
)

// credentialsFile is $REGISTRY_AUTH_FILE, as podman and skopeo have it, or
// config.json in $DOCKER_CONFIG or ~/.docker.
func credentialsFile() (string, error) {
	if f := os.Getenv("REGISTRY_AUTH_FILE"); f != "" {
		return f, nil
	}
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errs.Hint(fmt.Errorf("find the stored passwords: %w", err), "set DOCKER_CONFIG to a directory of your own")
		}
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json"), nil
}

// passwords opens the file; it need not exist.
func passwords() (*credentials.DynamicStore, error) {
	file, err := credentialsFile()
	if err != nil {
		return nil, err
	}
	store, err := credentials.NewStore(file, credentials.StoreOptions{AllowPlaintextPut: true})
	if err != nil {
		return nil, fmt.Errorf("read the stored passwords in %s: %w", file, err)
	}
	return store, nil
}

// credentialFiles are those that are looked into, in this order: the one that Login writes, then
// podman's, unless the person has named one.
func credentialFiles() (files []string, err error) {
	file, err := credentialsFile()
	if err != nil || os.Getenv("REGISTRY_AUTH_FILE") != "" {
		return []string{file}, err
	}
	files = []string{file}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	return append(files, filepath.Join(configHome(), "containers", "auth.json")), nil
}

// credential finds the password for a repository. If the file or helper is broken there is a
// warning and no password, since what is public can still be fetched. A server that this user runs
// on this machine is given its token instead.
func (c *Client) credential(r reference.Reference, own *token.Token) auth.CredentialFunc {
	registry := orasregistry.Reference{Registry: r.Domain}.Host()
	return func(ctx context.Context, host string) (auth.Credential, error) {
		switch {
		case host != registry:
			return auth.EmptyCredential, nil
		case own != nil:
			return auth.Credential{Username: token.User, Password: own.Secret}, nil
		}
		cred, err := stored(ctx, r)
		if err != nil {
			c.warn(fmt.Sprintf("find the password for %s: %v; going on without one", r.Domain, err))
			return auth.EmptyCredential, nil
		}
		return cred, nil
	}
}

// stored is the password that is stored for a repository, or auth.EmptyCredential.
func stored(ctx context.Context, r reference.Reference) (auth.Credential, error) {
	files, err := credentialFiles()
	for _, file := range files {
		cred, ferr := storedIn(ctx, file, r.Name())
		if cred != auth.EmptyCredential {
			return cred, nil
		}
		err = errors.Join(err, ferr)
	}
	return auth.EmptyCredential, err
}

// storedIn looks into one file, for REGISTRY/PATH or REGISTRY. A helper is asked for the registry,
// as docker does; what it does not have, the file itself may.
func storedIn(ctx context.Context, file, name string) (auth.Credential, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return auth.EmptyCredential, nil
	} else if err != nil {
		return auth.EmptyCredential, err
	}
	var has struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredHelpers map[string]string          `json:"credHelpers"`
		CredsStore  string                     `json:"credsStore"`
	}
	if err := json.Unmarshal(b, &has); err != nil {
		return auth.EmptyCredential, fmt.Errorf("%s: %w", file, err)
	}
	registry, _, _ := strings.Cut(name, "/")
	address := credentials.ServerAddressFromRegistry(registry)
	if has.CredsStore != "" || has.CredHelpers[address] != "" {
		var helped *credentials.DynamicStore
		var cred auth.Credential
		if helped, err = credentials.NewStore(file, credentials.StoreOptions{}); err == nil {
			cred, err = helped.Get(ctx, address)
		}
		if cred != auth.EmptyCredential {
			return cred, nil
		}
	}
	plain, perr := credentials.NewFileStore(file)
	if perr != nil {
		return auth.EmptyCredential, perr
	}
	for ; name != "."; name = path.Dir(name) {
		key := name
		if _, exact := has.Auths[key]; !exact && name == registry {
			key = oldKey(has.Auths, registry)
		}
		if _, there := has.Auths[key]; !there {
			continue
		}
		// By its exact key: FileStore takes any entry of the host for another.
		if cred, err := plain.Get(ctx, key); cred != auth.EmptyCredential || err != nil {
			return cred, err
		}
	}
	return auth.EmptyCredential, err
}

// oldKey is how docker has written a registry: https://HOST/v1/ and the like. The first of several
// counts, in the order of the alphabet.
func oldKey(auths map[string]json.RawMessage, registry string) string {
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		host := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		if host == key {
			continue
		}
		if host, _, _ = strings.Cut(host, "/"); host == registry || host == "index.docker.io" && registry == "docker.io" {
			return key
		}
	}
	return ""
}

// StoredUser is the user whose password is stored for the registry, or "".
func StoredUser(ctx context.Context, domain string) string {
	file, err := credentialsFile()
	if err != nil {
		return ""
	}
	cred, _ := storedIn(ctx, file, domain)
	return cred.Username
}

// Login tries a password and, if the registry takes it, stores it. It returns
// the file that now has it in the clear, or "" if a helper took it.
func (c *Client) Login(ctx context.Context, domain, user, password string) (file string, err error) {
	store, err := passwords()
	if err != nil {
		return "", err
	}
	if file, err = credentialsFile(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("keep the password: %w", err)
	}
	reg, err := remote.NewRegistry(domain)
	if err != nil {
		return "", fmt.Errorf("%q is no registry: %w", domain, err)
	}
	reg.Client, reg.PlainHTTP = c.client(ctx, place{ref: reference.Reference{Domain: domain}, insecure: c.Registries.insecure(reference.Reference{Domain: domain, Path: "x"})})
	cred := auth.Credential{Username: user, Password: password}
	if err := credentials.Login(ctx, store, reg, cred); err != nil {
		return "", fmt.Errorf("log in to %s: %w", domain, explainLogin(err, domain))
	}
	if helped(store, domain) {
		return "", nil
	}
	return file, nil
}

// explainLogin is explain where no image was asked for.
func explainLogin(err error, domain string) error {
	var resp *errcode.ErrorResponse
	switch {
	case errors.As(err, &resp) && resp.StatusCode == http.StatusUnauthorized:
		return errs.Hint(fmt.Errorf("wrong user or password: %w", err),
			"check both; some registries want an access token, made on their web page, as the password")
	case errors.Is(err, errdef.ErrNotFound):
		// OCI distribution-spec v1.1, "Determining Support".
		return errs.Hint(errors.New("this is no registry: it does not know /v2/"), "the name of a registry is HOST[:PORT], and no page of it")
	}
	return explain(err, domain)
}

// helped reports whether a helper keeps the registry's password: then the file
// does not have it.
func helped(store *credentials.DynamicStore, domain string) bool {
	plain, err := credentials.NewFileStore(store.ConfigPath())
	if err != nil {
		return false
	}
	cred, err := plain.Get(context.Background(), credentials.ServerAddressFromRegistry(domain))
	return err == nil && cred == auth.EmptyCredential
}

// ErrNotLoggedIn is what Logout says if there was no password.
var ErrNotLoggedIn = errors.New("not logged in")

// Logout forgets the password for a registry.
func Logout(ctx context.Context, domain string) error {
	store, err := passwords()
	if err != nil {
		return err
	}
	address := credentials.ServerAddressFromRegistry(domain)
	if cred, err := storedIn(ctx, store.ConfigPath(), domain); err == nil && cred == auth.EmptyCredential {
		return fmt.Errorf("%w to %s", ErrNotLoggedIn, domain)
	}
	if err := store.Delete(ctx, address); err != nil {
		return fmt.Errorf("log out of %s: %w", domain, err)
	}
	return nil
}

// Domain is the registry that a person names: with or without a scheme, for
// docker's under any of its names, "" for docker's.
func Domain(s string) (string, error) {
	switch s {
	case "", "docker.io", "index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/":
		return "docker.io", nil
	}
	r, err := reference.Parse(trimScheme(s) + "/x")
	if err != nil || r.Domain == "docker.io" && r.Path != "x" {
		return "", errs.Hint(fmt.Errorf("%q is no registry", s), "a registry is HOST or HOST:PORT, such as registry.example.org:5000")
	}
	return r.Domain, nil
}
