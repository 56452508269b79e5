package push

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/oauth2/jwt"
)

// AcceptedServiceAccount says what ParseServiceAccount takes.
const AcceptedServiceAccount = "the JSON key of a Google service account, with type, project_id, client_email, private_key and token_uri"

const fcmScope = "https://www.googleapis.com/auth/firebase.messaging"

// ServiceAccount is in whose name FCM is asked.
type ServiceAccount struct {
	project string
	config  jwt.Config
}

// ParseServiceAccount reads the file that Google gives for a service account. Its errors show no secret.
// (golang.org/x/oauth2/google could, but names no field, and brings what asks a cloud's metadata.)
func ParseServiceAccount(content []byte) (a ServiceAccount, err error) {
	var file struct {
		Type         string
		ProjectID    string `json:"project_id"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		TokenURI     string `json:"token_uri"`
	}
	if json.Unmarshal(content, &file) != nil {
		return a, errors.New("is no JSON")
	}
	if file.Type != "service_account" {
		return a, errors.New("has not the type service_account")
	}
	if file.ProjectID == "" || strings.ContainsAny(file.ProjectID, "/?# ") {
		return a, errors.New("has no project_id")
	}
	if file.ClientEmail == "" {
		return a, errors.New("has no client_email")
	}
	if u, err := url.Parse(file.TokenURI); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return a, errors.New("has a token_uri that is no URL")
	}
	if !isRSAKey(file.PrivateKey) {
		return a, errors.New("has a private_key that is no RSA key in PEM")
	}
	return ServiceAccount{file.ProjectID, jwt.Config{
		Email: file.ClientEmail, PrivateKey: []byte(file.PrivateKey), PrivateKeyID: file.PrivateKeyID,
		TokenURL: file.TokenURI, Scopes: []string{fcmScope},
	}}, nil
}

func isRSAKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		_, ok := key.(*rsa.PrivateKey)
		return ok
	}
	_, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	return err == nil
}
