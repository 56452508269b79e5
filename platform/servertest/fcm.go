package servertest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FCM is Google's end.
type FCM struct {
	Vendor
	Credentials string // file of a service account that it knows
	Project     string

	Locked bool // it gives no access tokens; set before the first is asked for
	Silent bool // it does not answer who asks for one

	issued  atomic.Int64 // access tokens
	revoked atomic.Int64 // those that are refused
}

// Revoke has it refuse the access tokens that it gave so far.
func (f *FCM) Revoke() { f.revoked.Store(f.issued.Load()) }

// NewFCM starts a stand-in that answers by magic tokens: 400 (of the token), 400-payload, 400-field, 401, 401-apple,
// 403, 403-project, 404, 404-project, 429, 429-device, 500, 503, slow, hang, garbage.
func NewFCM(t testing.TB) *FCM {
	t.Helper()
	f := &FCM{Project: "project-1"}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("POST /v1/projects/"+f.Project+"/messages:send", f.send)
	f.serve(t, mux)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	f.Credentials = writeJSON(t, map[string]string{
		"type": "service_account", "project_id": f.Project, "private_key_id": "key-1", "client_email": "push@project-1.example.com",
		"private_key": pkcs8(t, key), "token_uri": f.URL + "/token",
	})
	return f
}

func (f *FCM) token(w http.ResponseWriter, req *http.Request) {
	if f.Silent {
		hang(req, f.release)
		return
	}
	if f.Locked || req.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(req.FormValue("assertion"), ".") != 2 {
		answer(w, http.StatusBadRequest, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
		return
	}
	answer(w, http.StatusOK, fmt.Sprintf(`{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, f.issued.Add(1)))
}

func (f *FCM) send(w http.ResponseWriter, req *http.Request) {
	var body struct{ Message map[string]any }
	var bearer int64
	_, err := fmt.Sscanf(req.Header.Get("Authorization"), "Bearer token-%d", &bearer)
	if json.NewDecoder(req.Body).Decode(&body) != nil || err != nil || bearer <= f.revoked.Load() {
		answer(w, http.StatusUnauthorized, fcmFault("401", "UNAUTHENTICATED", ""))
		return
	}
	token, _ := body.Message["token"].(string)
	f.note(VendorRequest{token, req.Header.Clone(), body.Message, req.ProtoMajor})
	const violation = `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.data","description":"…"}]}`
	const ofDevice = `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"…","description":"Device quota exceeded."}]}`
	magic, _, _ := strings.Cut(token, "~")
	switch magic {
	case "400":
		answer(w, 400, strings.Replace(fcmFault("400", "INVALID_ARGUMENT", "INVALID_ARGUMENT"), "…", "The registration token is not a valid FCM registration token", 1))
	case "400-payload":
		answer(w, 400, strings.Replace(fcmFault("400", "INVALID_ARGUMENT", "INVALID_ARGUMENT"), "…", "Android message is too big", 1))
	case "400-field":
		answer(w, 400, fcmFault("400", "INVALID_ARGUMENT", "INVALID_ARGUMENT", violation))
	case "401":
		answer(w, 401, fcmFault("401", "UNAUTHENTICATED", ""))
	case "401-apple":
		answer(w, 401, fcmFault("401", "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"))
	case "403":
		answer(w, 403, fcmFault("403", "PERMISSION_DENIED", "SENDER_ID_MISMATCH"))
	case "403-project":
		answer(w, 403, fcmFault("403", "PERMISSION_DENIED", ""))
	case "404":
		answer(w, 404, fcmFault("404", "NOT_FOUND", "UNREGISTERED"))
	case "404-project":
		answer(w, 404, "<html>Not Found</html>")
	case "429":
		answer(w, 429, fcmFault("429", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"))
	case "429-after":
		w.Header().Set("Retry-After", "7")
		answer(w, 429, fcmFault("429", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"))
	case "429-device":
		answer(w, 429, fcmFault("429", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", ofDevice))
	case "500":
		answer(w, 500, fcmFault("500", "INTERNAL", "INTERNAL"))
	case "503":
		w.Header().Set("Retry-After", "33")
		answer(w, 503, fcmFault("503", "UNAVAILABLE", "UNAVAILABLE"))
	case "slow":
		<-time.After(slowly)
		answer(w, 200, `{"name":"projects/project-1/messages/1"}`)
	case "hang":
		hang(req, f.release)
	case "garbage":
		answer(w, 200, "\x00\xff not JSON")
	default:
		answer(w, 200, `{"name":"projects/project-1/messages/1"}`)
	}
}

func fcmFault(code, status, fcm string, details ...string) string {
	if fcm != "" {
		details = append([]string{`{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + fcm + `"}`}, details...)
	}
	return `{"error":{"code":` + code + `,"message":"…","status":"` + status + `","details":[` + strings.Join(details, ",") + `]}}`
}
