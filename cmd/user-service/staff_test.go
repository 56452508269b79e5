package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"user-service/platform/servertest"
)

// withKey sends a request as a sibling service does.
func (i *instance) withKey(method, path, key string) reply {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.base+path, http.NoBody)
	require.NoError(i.t, err)
	req.Header.Set("X-API-Key", key)
	return i.do(req)
}

func TestStaffDeactivatesAndReactivates(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	broker := s.broker(t)
	listening := broker.listen()
	admin, k := s.staff(a), a.register()
	path := "/api/v1/users/" + k.id() + "/"

	var user map[string]any
	r := a.call("PATCH", path, admin.AccessToken, map[string]any{"is_active": false})
	require.Equal(t, 200, r.Status, r.Error)
	ended := time.Now()
	r.into(t, &user)
	require.Equal(t, false, user["is_active"])
	require.Equal(t, "token_invalid", a.call("GET", "/api/v1/auth/sessions/", k.AccessToken, nil).Error)
	b.refusesWithinASecond(k.AccessToken, ended)
	credentials := map[string]any{"email": k.User["email"], "password": goodPassword}
	require.Equal(t, "invalid_credentials", b.call("POST", "/api/v1/auth/login/", "", credentials).Error)
	broker.push(pushBody(k.id(), "while inactive"))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.skipped")) == 1 }, "the push is skipped")

	for range 2 { // the second time nothing changes
		r = b.call("PATCH", path, admin.AccessToken, map[string]any{"is_active": true, "is_staff": true})
		require.Equal(t, 200, r.Status)
	}
	r.into(t, &user)
	require.Equal(t, true, user["is_active"])
	require.Equal(t, true, user["is_staff"])
	back := a.login(k)
	require.Equal(t, 401, a.call("GET", "/api/v1/users/me/", k.AccessToken, nil).Status, "what was ended stays so")
	require.Equal(t, 200, b.call("GET", "/api/v1/users/preferences/", back.AccessToken, nil).Status)
	require.Equal(t, 200, b.call("GET", "/api/v1/users/"+admin.id()+"/", back.AccessToken, nil).Status, "of the staff now")
	broker.push(pushBody(k.id(), "active again"))
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "push.sent")) == 1 }, "the push is sent")

	require.Equal(t, 200, a.call("PATCH", path, admin.AccessToken, map[string]any{"is_staff": false}).Status)
	require.Equal(t, "forbidden", b.call("GET", "/api/v1/users/"+admin.id()+"/", back.AccessToken, nil).Error, "at once, on every instance")
	servertest.Eventually(t, func() bool { return len(listening.of(k.id(), "user.reactivated")) == 1 }, "the event")
	for _, e := range listening.of(k.id(), "user.deactivated", "user.reactivated") {
		require.Equal(t, map[string]any{"user_id": k.id(), "by": admin.id()}, e.Data)
	}
	require.Len(t, listening.of(k.id(), "user.deactivated", "user.reactivated"), 2)
}

func TestStaffCannotLockItselfOut(t *testing.T) {
	t.Parallel()
	s, i, _ := shared(t)
	admin := s.staff(i)
	r := i.call("PATCH", "/api/v1/users/"+admin.id()+"/", admin.AccessToken, map[string]any{"is_active": false, "is_staff": false})
	require.Equal(t, 400, r.Status)
	require.Contains(t, r.Errors, "is_active")
	require.Contains(t, r.Errors, "is_staff")
	r = i.call("PATCH", "/api/v1/users/"+admin.id()+"/", admin.AccessToken, map[string]any{"is_active": "no"})
	require.Equal(t, []string{"Must be true or false."}, r.Errors["is_active"])
	require.Equal(t, "not_found", i.call("PATCH", "/api/v1/users/"+uuid.NewString()+"/", admin.AccessToken, map[string]any{}).Error)
}

func TestSiblingsReadUsersByTheirKey(t *testing.T) {
	t.Parallel()
	s, a, b := shared(t)
	key, err := a.app.auth.CreateServiceKey(t.Context(), "gateway")
	require.NoError(t, err)
	admin, k := s.staff(a), a.register(func(body map[string]any) { body["preferences"] = map[string]any{"push": false} })
	path := "/api/v1/users/" + k.id() + "/"
	for below, want := range map[string]map[string]any{
		"":                   k.User,
		"preferences/":       {"user_id": k.id(), "email": true, "push": false, "email_enabled": true, "push_enabled": false},
		"contact/?type=push": {"user_id": k.id(), "contact": k.User["push_token"], "notification_type": "push", "preferences_enabled": false},
		"contact?type=email": {"user_id": k.id(), "contact": k.User["email"], "notification_type": "email", "preferences_enabled": true},
		"push-token/":        {"user_id": k.id(), "token": k.User["push_token"], "push_token": k.User["push_token"]},
	} {
		for _, r := range []reply{a.withKey("GET", path+below, key), b.call("GET", path+below, admin.AccessToken, nil)} {
			require.Equal(t, 200, r.Status, below)
			var got map[string]any
			r.into(t, &got)
			require.Equal(t, want, got)
		}
		require.Equal(t, "forbidden", b.call("GET", path+below, k.AccessToken, nil).Error, "a user is no service, not even for itself")
		require.Equal(t, "not_authenticated", b.call("GET", path+below, "", nil).Error)
		require.Equal(t, "token_invalid", b.withKey("GET", path+below, key+"x").Error)
	}
	for _, below := range []string{"", "preferences/", "contact/?type=push", "push-token/"} {
		require.Equal(t, "not_found", a.withKey("GET", "/api/v1/users/"+uuid.NewString()+"/"+below, key).Error, below)
	}
	for _, query := range []string{"", "?type=", "?type=sms"} {
		require.Contains(t, a.withKey("GET", path+"contact/"+query, key).Errors, "type", query)
	}
	require.Equal(t, "not_authenticated", a.withKey("PATCH", path, key).Error, "what staff may do, a service may not")
	require.Equal(t, "not_authenticated", a.withKey("GET", path+"activity/", key).Error)

	require.Equal(t, 200, a.call("PATCH", path, admin.AccessToken, map[string]any{"is_active": false}).Status)
	var contact map[string]any
	b.withKey("GET", path+"contact/?type=email", key).into(t, &contact)
	require.Equal(t, false, contact["preferences_enabled"], "an account that is not active is not to be reached")

	require.NoError(t, a.app.auth.RevokeServiceKey(t.Context(), "gateway"))
	revoked := time.Now()
	for asked := time.Now(); b.withKey("GET", path, key).Status == 200; asked = time.Now() {
		require.Less(t, asked.Sub(revoked), 1100*time.Millisecond, "the key is still accepted")
	}
}

func TestServiceKeyIsStoredAsAHashAndItsUseIsNoted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	i := s.start(t)
	key, err := i.app.auth.CreateServiceKey(t.Context(), "e-mail.service_1")
	require.NoError(t, err)
	_, err = i.app.auth.CreateServiceKey(t.Context(), "e-mail.service_1")
	require.ErrorContains(t, err, "already")
	for _, name := range []string{"", "Capital", "with space", "-dash", "ü"} {
		_, err := i.app.auth.CreateServiceKey(t.Context(), name)
		require.ErrorContains(t, err, "accepted", name)
	}
	require.Equal(t, 404, i.withKey("GET", "/api/v1/users/"+uuid.NewString()+"/", key).Status)
	i.stop() // writes what it knows of the use
	again := s.start(t)
	keys, err := again.app.auth.ServiceKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.WithinDuration(t, time.Now(), *keys[0].LastUsedAt, time.Minute)
	var row string
	require.NoError(t, s.open(t).Get(t.Context(), &row, `SELECT row_to_json(k)::text FROM auth.service_keys k`))
	require.NotContains(t, row, key)
}
