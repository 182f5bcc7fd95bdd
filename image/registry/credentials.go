package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"tiffin/image"
	"tiffin/internal/errs"
)

// Passwords are where docker keeps them: in the file below, as base64 under
// "auths", or with a program docker-credential-NAME that "credHelpers" or
// "credsStore" of that file name.
// https://docs.docker.com/reference/cli/docker/login/#credential-stores

// CredentialsFile is $REGISTRY_AUTH_FILE, as podman and skopeo have it, or
// config.json in $DOCKER_CONFIG or ~/.docker.
func CredentialsFile() (string, error) {
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
	file, err := CredentialsFile()
	if err != nil {
		return nil, err
	}
	store, err := credentials.NewStore(file, credentials.StoreOptions{AllowPlaintextPut: true})
	if err != nil {
		return nil, fmt.Errorf("read the stored passwords in %s: %w", file, err)
	}
	return store, nil
}

// credential finds the password for a host. Where they are kept being broken
// is no reason not to fetch what is public: then there is none, and a warning.
func (c *Client) credential() auth.CredentialFunc {
	store, err := passwords()
	if err != nil {
		c.warn(err.Error() + "; going on without a password")
		return nil
	}
	get := credentials.Credential(store)
	return func(ctx context.Context, host string) (auth.Credential, error) {
		cred, err := get(ctx, host)
		if err != nil {
			c.warn(fmt.Sprintf("ask for the password for %s: %v; going on without one", host, err))
			return auth.EmptyCredential, nil
		}
		return cred, nil
	}
}

// StoredUser is whose password is stored for the registry, or "".
func StoredUser(ctx context.Context, domain string) string {
	store, err := passwords()
	if err != nil {
		return ""
	}
	cred, err := store.Get(ctx, credentials.ServerAddressFromRegistry(domain))
	if err != nil {
		return ""
	}
	return cred.Username
}

// Login tries a password and, if the registry takes it, stores it. It returns
// the file that now has it in the clear, or "" if a helper took it.
func (c *Client) Login(ctx context.Context, domain, user, password string) (file string, err error) {
	store, err := passwords()
	if err != nil {
		return "", err
	}
	if file, err = CredentialsFile(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("keep the password: %w", err)
	}
	reg, err := remote.NewRegistry(domain)
	if err != nil {
		return "", fmt.Errorf("%q is no registry: %w", domain, err)
	}
	reg.Client, reg.PlainHTTP = c.client(ctx, domain, c.Registries.insecure(image.Ref{Domain: domain, Path: "x"}))
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
	if cred, err := store.Get(ctx, address); err == nil && cred == auth.EmptyCredential {
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
	r, err := image.ParseRef(trimScheme(s) + "/x")
	if err != nil || r.Domain == "docker.io" && r.Path != "x" {
		return "", errs.Hint(fmt.Errorf("%q is no registry", s), "a registry is HOST or HOST:PORT, such as registry.example.org:5000")
	}
	return r.Domain, nil
}
