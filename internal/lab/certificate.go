package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

const certificateName = "home.example"

// certificate is one that home has made for itself; nobody else has its key.
type certificate struct {
	tls  tls.Certificate
	pool *x509.CertPool
}

func newCertificate(name string) (certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		// Its own issuer, so that visitors can trust it and nothing else.
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return certificate{}, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return certificate{tls: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}, pool: pool}, nil
}

func (c certificate) serverConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.tls}, MinVersion: tls.VersionTLS13}
}

// clientConfig trusts this certificate only.
func (c certificate) clientConfig() *tls.Config {
	return &tls.Config{RootCAs: c.pool, ServerName: certificateName, MinVersion: tls.VersionTLS13}
}
