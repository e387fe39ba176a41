package plugin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// TLS is how a component that connects to a server trusts it and shows who it is. The zero value trusts the
// system's certificates and shows nothing.
type TLS struct {
	// CA is a file of PEM certificates to trust in place of the system's.
	CA string `yaml:"ca"`

	// Certificate is a file with the PEM certificate that identifies the hub, if the server asks for one.
	Certificate string `yaml:"certificate"`

	// Key is the file with the PEM private key of certificate.
	Key string `yaml:"key"`

	// ServerName is the name that the server's certificate must be for; empty is the host that is connected to.
	ServerName string `yaml:"serverName"`

	// Insecure accepts any certificate, and so anybody in between. For tests only.
	Insecure bool `yaml:"insecure"`
}

// Validate reports settings that contradict each other; path is that of the section.
func (t *TLS) Validate(path string) error {
	var errs []error
	if (t.Certificate == "") != (t.Key == "") {
		errs = append(errs, Invalid(path, "certificate and key go together; set both"))
	}
	if t.Insecure && t.CA != "" {
		errs = append(errs, Invalid(path+".insecure", "would make ca useless; remove one of them"))
	}
	return errors.Join(errs...)
}

// Load reads the files, whose names are relative to dir.
func (t *TLS) Load(dir string) (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // only if the file asks for it
	if t.CA != "" {
		pem, err := os.ReadFile(Resolve(dir, t.CA))
		if err != nil {
			return nil, fmt.Errorf("reading tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading tls.ca: %s holds no PEM certificate", t.CA)
		}
	}
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(Resolve(dir, t.Certificate), Resolve(dir, t.Key))
		if err != nil {
			return nil, fmt.Errorf("reading tls.certificate and tls.key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Resolve makes the name of a file that a configuration gives relative to the folder of that configuration.
func Resolve(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
